"""The packages of the 2018 tokenisation, ftfy and spaCy, which are optional."""

from __future__ import annotations

from ogpt.errors import BackendMissing

PACKAGES = ("spacy", "ftfy")
INSTALL = "pip install 'ogpt[original]'"


def missing(error: ImportError) -> BackendMissing:
    """What to raise when one of them could not be imported."""
    return BackendMissing(f"the 2018 tokenisation needs ftfy and spaCy: {error}", hint=INSTALL)
