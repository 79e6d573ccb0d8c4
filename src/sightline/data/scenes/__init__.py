"""Scenes: procedural pictures of objects with their truth."""
