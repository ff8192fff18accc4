"""One regularised least squares for every editor and guard, and what stands in it."""
