"""Networks of MONAI as steps, with the names of their weights in MONAI 1.5 and 1.6."""
