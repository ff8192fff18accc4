"""Second moments over text, of inputs and of gradients: one pass, by one process or several."""
