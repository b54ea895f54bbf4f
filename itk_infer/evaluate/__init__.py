"""Comparison of results with ground truth: pairing of files, and metrics. Independent of models."""
