"""Tasks: from labelled examples to token sequences (paper, figure 1)."""
