"""Results against ground truth: which file belongs to which, and how far apart they are. Knows no model."""
