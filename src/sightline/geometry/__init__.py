"""Geometry: pure functions on tensors, without state: boxes, IoU, coding, anchors, suppression, regions."""
