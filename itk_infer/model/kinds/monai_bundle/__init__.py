"""Bundles of MONAI, read as data: nothing in them is run, and MONAI's own reader of bundles is not used."""
