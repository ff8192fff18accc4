"""One file per form of edit file, and what they share. No torch."""
