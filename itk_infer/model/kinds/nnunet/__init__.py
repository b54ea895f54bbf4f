"""Model folders of nnU-Net v2, as its training writes them."""
