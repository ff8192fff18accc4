"""Whether a model can be edited: what its sites, tokenizer, weights and numbers say."""
