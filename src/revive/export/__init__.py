"""Edited models in the forms that other tools take: a folder, a GGUF file, a delta, an adapter."""
