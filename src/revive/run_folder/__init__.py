"""A run's folder: what is in it, in which order it was written, whether it is whole. No torch."""
