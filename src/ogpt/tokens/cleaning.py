"""Clean up decoded English text: remove spaces before punctuation and contractions."""

from __future__ import annotations

# Hugging Face's list in its order (transformers, clean_up_tokenization).
_REPLACEMENTS = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def clean_up_tokenization(text: str) -> str:
    """Remove the spaces that tokenization puts before punctuation and contractions."""
    for spaced, joined in _REPLACEMENTS:
        text = text.replace(spaced, joined)
    return text
