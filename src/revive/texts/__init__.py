"""Ordinary text that comes with the package."""
