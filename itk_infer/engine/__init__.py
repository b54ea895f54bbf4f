"""Sliding windows, blending, slabs, resampling of logits, and the decision; independent of files and backends."""
