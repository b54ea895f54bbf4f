"""Programs that use a server of `itk_infer serve` from elsewhere."""
