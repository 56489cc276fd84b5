"""Hugging Face's `generate()` over the searches of `ogpt.generation`."""
