"""One file per public test set."""
