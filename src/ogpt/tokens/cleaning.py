"""English typography restored in decoded text: no space before a full stop or an 's."""

from __future__ import annotations

# Hugging Face's list, in its order.
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
    """Decoded text less the spaces that tokenising put before punctuation and contractions."""
    for spaced, joined in _REPLACEMENTS:
        text = text.replace(spaced, joined)
    return text
