"""Studies from an archive, and results back to it: what `itk_infer node` and `itk_infer push` are made of."""
