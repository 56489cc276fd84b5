"""The whole OpenAI GPT (GPT-1, 2018) system: tokenise, pre-train, fine-tune, generate, serve."""

from ogpt.version import __version__

__all__ = ["__version__"]
