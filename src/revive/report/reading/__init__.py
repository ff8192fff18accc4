"""A run folder as a report sees it."""
