"""Pictures as input of classifying models: frames of DICOM files, photos, slices of volumes."""
