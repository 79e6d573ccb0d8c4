"""Blocks with three users or more."""
