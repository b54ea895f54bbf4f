"""The batch size, in windows per call: searched by timing, and cached for the next run."""
