"""Split text at white space, as BertNormalizer does, into chunks that are independent.

BertNormalizer and BertPreTokenizer never look across white space, so the words (and ids) of a text
are those of its chunks in order. Chunks repeat, so counting and encoding distinct chunks is many
times faster than processing whole texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ogpt.errors import TokenizerError

# str.split() splits at these characters; BertNormalizer removes them as control characters.
CONTROLS = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"
_DROP_CONTROLS = dict.fromkeys(map(ord, CONTROLS))
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = re.compile("[!-~‘’“”—…]+")
_PLAIN_WORD = re.compile("[a-z0-9]+|[^a-z0-9]")
_PART = 1 << 20  # characters split at once: the list of chunks of a long text would be large


LONGEST_WORD = 1_000_000
"""Maximum bytes of a word in UTF-8. Applying merges takes more than linear time, and real words are
far shorter."""


def check_word(word: str) -> None:
    """Check that a word is not longer than LONGEST_WORD.

    Raises:
        TokenizerError: it is longer.
    """
    size = len(word.encode(errors="replace")) if 4 * len(word) > LONGEST_WORD else 0
    if size > LONGEST_WORD:
        raise TokenizerError(
            f"a single word has {size:,} bytes, {word[:20]!r}...; allowed: {LONGEST_WORD:,}",
            hint="check that it is text; insert spaces or line breaks, or omit it",
        )


def without_surrogates(text: str) -> str:
    """Remove lone surrogates, which are not characters and cannot be encoded in UTF-8."""
    try:
        text.encode()  # the fastest test
    except UnicodeEncodeError:
        return _SURROGATE.sub("", text)
    return text


def has_controls(text: str) -> bool:
    """Return whether str.split() would split `text` where BertNormalizer does not."""
    return any(control in text for control in CONTROLS)


def without_controls(text: str) -> str:
    """Remove the control characters at which str.split() would split."""
    return text.translate(_DROP_CONTROLS) if has_controls(text) else text


def chunk_lists(text: str) -> Iterator[list[str]]:
    """Split a text without CONTROLS into chunks, about a million characters at a time."""
    start = 0
    while len(text) - start > _PART:
        end = text.find(" ", start + _PART)
        if end < 0:
            break
        yield text[start:end].split()
        start = end
    yield text[start:].split()


def plain_words(chunk: str) -> list[str] | None:
    """Split a chunk of ASCII and common typographic punctuation into words; None for other chunks.

    This repeats BertNormalizer and BertPreTokenizer for the common case, without calling Rust:
    lower case, and each character that is not a letter or digit is a word.
    """
    return _PLAIN_WORD.findall(chunk.lower()) if _PLAIN.fullmatch(chunk) else None
