"""One batch as a transaction: targets, updates, guard, ledger."""
