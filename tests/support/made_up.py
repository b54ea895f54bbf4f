from itk_infer.testing.made_up import CODES, make_header, ranges, slab_grid

__all__ = ["CODES", "make_frame", "ranges", "slab_grid"]
make_frame = make_header
