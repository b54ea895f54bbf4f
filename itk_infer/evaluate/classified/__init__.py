"""Comparison of classification results of images and studies with ground truth."""
