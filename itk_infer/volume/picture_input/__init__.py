"""Pictures: frames of DICOM files, photos, slices of volumes, as input of models that classify."""
