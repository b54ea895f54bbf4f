"""Pictures: frames of DICOM files, photos, slices of volumes, as models that classify see them."""
