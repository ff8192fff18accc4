"""Edits: what they are, how they are read, and in which order they are made. No torch."""
