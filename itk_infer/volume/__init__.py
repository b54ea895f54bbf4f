"""Images: reading, writing, grids and orientation, resampling, intensity; independent of models."""
