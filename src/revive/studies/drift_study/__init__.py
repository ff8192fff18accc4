"""Many runs: what leads a collapse, and what an alarm on it is worth."""
