"""Experiment trackers that a run can be written to, one a file, each imported only when it is asked for."""
