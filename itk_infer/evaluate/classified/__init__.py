"""Probabilities of images and studies against truth."""
