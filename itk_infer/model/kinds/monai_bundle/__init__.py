"""MONAI bundles, read as data: no code in them is run, and MONAI's own bundle reader is not used."""
