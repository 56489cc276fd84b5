"""Ids become logits, in PyTorch."""
