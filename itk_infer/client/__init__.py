"""Clients of a server of `itk_infer serve`."""
