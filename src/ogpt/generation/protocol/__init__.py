"""What generation asks of a decoder, and what it computes from its logits."""
