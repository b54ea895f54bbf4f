"""The report of an output folder: one page, and the same as CSV and JSON."""
