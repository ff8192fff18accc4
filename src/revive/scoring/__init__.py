"""What a model says of given tokens, and of the items of public test sets."""
