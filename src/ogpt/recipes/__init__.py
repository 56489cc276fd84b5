"""Whole stories: the demo."""
