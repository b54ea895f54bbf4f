"""Tables derived from `results.db`: per image, per slice, per study."""
