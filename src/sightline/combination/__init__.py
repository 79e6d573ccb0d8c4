"""Several answers about one image made into one: fusion of detections, testing at several sizes, ensembles."""
