"""Models: files become backends, which turn a batch of windows into logits. Nothing here depends on volumes."""
