"""Where objects may be: anything that gives class-free boxes."""
