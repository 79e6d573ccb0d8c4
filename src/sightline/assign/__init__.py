"""Assignment: which ground truth each anchor or proposal learns from, and which of them are drawn for training."""
