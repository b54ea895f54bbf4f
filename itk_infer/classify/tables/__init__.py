"""Tables made from `results.db`: of images, of slices, of studies."""
