"""Figures as SVG, drawn without a library."""
