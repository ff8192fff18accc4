"""The same on a Ray cluster. No torch."""
