"""Prompts in, texts out: requests, streaming, files of rows."""
