"""Whole workflows from text to report: the demo."""
