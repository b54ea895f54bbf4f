"""Saliency of classified images: panels, scores, raw maps."""
