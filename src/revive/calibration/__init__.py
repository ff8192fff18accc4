"""Strength and tau by a stated rule, on one fresh batch."""
