"""Texts in, answers out: `ogpt.pipeline` and what it does for each task."""
