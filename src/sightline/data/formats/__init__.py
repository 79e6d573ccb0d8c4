"""One annotation format per file, each read into the same records."""
