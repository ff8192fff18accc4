"""Models: families, the block runner, the ledger, loading and saving."""
