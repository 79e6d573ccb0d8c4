"""Changes of an image together with its boxes, masks and keypoints, and the preparation of batches."""
