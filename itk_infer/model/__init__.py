"""Backends: one file each, turning a batch of windows into logits. Knows no volumes."""
