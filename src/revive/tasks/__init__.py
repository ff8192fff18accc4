"""General abilities by public test sets: readers of their files, one scorer, one generator."""
