"""How good a system is and what it costs: COCO average precision, operating points, cost."""
