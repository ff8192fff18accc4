"""Where a model comes from: names of our own, folders, GGUF files, hub ids. No torch."""
