"""Classification: pictures to probabilities, a folder of them to `results.db`."""
