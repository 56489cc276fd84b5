"""How good a model is: text to evaluate on, and n-gram models as baselines."""
