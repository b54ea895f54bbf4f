"""Saliency: which parts of a picture a classifying network's logit depends on."""
