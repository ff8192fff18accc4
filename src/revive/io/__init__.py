"""Files of every kind: whole or not at all, named, locked, checked, kept in the cache."""
