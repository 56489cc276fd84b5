"""The optional packages of the 2018 tokenization: ftfy and spaCy."""

from __future__ import annotations

from ogpt.errors import BackendMissing

PACKAGES = ("spacy", "ftfy")
INSTALL = "pip install 'ogpt[original]'"


def missing(error: ImportError) -> BackendMissing:
    """Make the error for one of them that cannot be imported."""
    return BackendMissing(f"the 2018 tokenization needs ftfy and spaCy: {error}", hint=INSTALL)
