"""Sequences of tokens over any decoder: sampling, beams, contrastive search."""
