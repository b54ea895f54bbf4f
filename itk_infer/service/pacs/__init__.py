"""Retrieval of studies from an archive and delivery of results, for `itk_infer node` and `itk_infer push`."""
