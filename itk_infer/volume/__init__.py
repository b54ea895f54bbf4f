"""Volumes: reading, writing, grids and orientation, resampling, intensity. Knows no models."""
