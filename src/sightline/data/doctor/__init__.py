"""The check of a set: what is wrong with its files, annotations and images."""
