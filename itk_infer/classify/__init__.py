"""Classification of pictures: runs over folders, with results in `results.db`."""
