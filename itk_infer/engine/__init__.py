"""Windows, blending, slabs, resampling of slabs and deciding. Knows no files and no backends."""
