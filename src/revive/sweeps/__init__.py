"""Several runs over one stream, or a grid of them, each in a process of its own. No torch."""
