"""Probes measure a model as it stands."""
