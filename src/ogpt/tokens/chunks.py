"""White space as BertNormalizer sees it: text cut into the chunks that it treats one by one.

Nothing in BertNormalizer and BertPreTokenizer looks across white space, so a text's words (and
ids) are those of its chunks, one after the other. Words repeat, so counting and encoding chunks
is many times faster than reading whole texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ogpt.errors import TokenizerError

# str.split() takes these for white space; BertNormalizer drops them as control characters.
CONTROLS = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"
_DROP_CONTROLS = dict.fromkeys(map(ord, CONTROLS))
_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN = re.compile("[!-~‘’“”—…]+")
_PLAIN_WORD = re.compile("[a-z0-9]+|[^a-z0-9]")
_PART = 1 << 20  # characters cut up at once, so that a long text needs little memory


LONGEST_WORD = 1_000_000
"""Bytes of UTF-8; merging takes more than linear time, and no language has such a word."""


def check_word(word: str) -> None:
    """Refuse a word longer than LONGEST_WORD.

    Raises:
        TokenizerError: it is.
    """
    size = len(word.encode(errors="replace")) if 4 * len(word) > LONGEST_WORD else 0
    if size > LONGEST_WORD:
        raise TokenizerError(
            f"a single word has {size:,} bytes, {word[:20]!r}...; allowed: {LONGEST_WORD:,}",
            hint="is it text? put spaces or line breaks into it, or leave it out",
        )


def without_surrogates(text: str) -> str:
    """The text less its lone surrogates, which are no characters and have no UTF-8 form."""
    try:
        text.encode()  # the quickest way to ask
    except UnicodeEncodeError:
        return _SURROGATE.sub("", text)
    return text


def has_controls(text: str) -> bool:
    """Whether str.split() would cut `text` where BertNormalizer does not."""
    return any(control in text for control in CONTROLS)


def without_controls(text: str) -> str:
    """The text less the control characters that str.split() takes for white space."""
    return text.translate(_DROP_CONTROLS) if has_controls(text) else text


def chunk_lists(text: str) -> Iterator[list[str]]:
    """The chunks of a text without CONTROLS, about a million characters at a time."""
    start = 0
    while len(text) - start > _PART:
        end = text.find(" ", start + _PART)
        if end < 0:
            break
        yield text[start:end].split()
        start = end
    yield text[start:].split()


def plain_words(chunk: str) -> list[str] | None:
    """The words of a chunk of ASCII and the commonest other punctuation, None for other chunks.

    What BertNormalizer and BertPreTokenizer make of it, without asking them: lower case, each
    character that is no letter or digit on its own.
    """
    return _PLAIN_WORD.findall(chunk.lower()) if _PLAIN.fullmatch(chunk) else None
