"""A model's forward pass in parts: block by block, row by row, watched and shared."""
