"""Hugging Face's generate(), built on the searches of ogpt.generation."""
