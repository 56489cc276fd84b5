"""How good a model is: perplexity, and n-gram models to compare with."""
