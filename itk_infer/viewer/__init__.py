"""The viewer: one page, served to this machine only, with the masks of an output folder over their images."""
