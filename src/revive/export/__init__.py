"""Edited models in the forms that other tools take: a folder, a delta, a LoRA adapter."""
