"""Target states: the problem, its settings, steps, and what solves it."""
