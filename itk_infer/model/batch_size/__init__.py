"""How many windows a call: searched, timed, and kept for the next run."""
