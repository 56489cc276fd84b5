"""What generation and scoring require of a decoder, and what they compute from its logits."""
