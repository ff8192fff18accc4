"""Runs: what was asked, what happened, and the folder that holds both."""
