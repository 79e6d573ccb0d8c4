"""Public data sets by name: where they are, what is known of them, and how they come onto the disk."""
