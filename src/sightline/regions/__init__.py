"""Detectors of regions: what Fast, Faster and Mask R-CNN have in common once somebody has proposed where to look."""
