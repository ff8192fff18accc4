"""Linear algebra on tensors alone: bases, moments, low-rank updates, the least-squares solve."""
