"""Text that a tokenizer cannot represent is reported before the work, from a sample of it.

A vocabulary of another script makes nearly every token `<unk>`: easy to predict, and worthless.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from ogpt.data.documents import Document, documents
from ogpt.data.encoding import in_document
from ogpt.data.shards import Shards
from ogpt.data.sources import Source
from ogpt.errors import TokenizerError
from ogpt.notices import tell
from ogpt.tokens.bpe_tokenizer import BPETokenizer

SHARE = 0.01
"""Share of the tokens, or of the characters, from which a notice is given."""
SAMPLE = 1 << 18
"""Characters of the sample, from at most SAMPLED sources."""
SAMPLED = 64

# Indic scripts, Thai, Lao, Tibetan, Myanmar; Khmer. Their vowel signs are marks, as accents are
_VOWEL_SIGNS = (range(0x0900, 0x10A0), range(0x1780, 0x1800))


def notice_unknown(tokenizer: BPETokenizer, sources: Sequence[Source], what: str) -> bool:
    """Give a notice if many tokens of the sources are unknown, judged by a sample.

    Args:
        tokenizer: The tokenizer.
        sources: Sources of text.
        what: What the text is, for the notice.

    Returns:
        Whether there was a notice on unknown tokens.
    """
    return notice_unknown_in(tokenizer, list(_sample(sources)), what)


def notice_unknown_in(tokenizer: BPETokenizer, sample: Sequence[Document], what: str) -> bool:
    """Give a notice if many tokens of these documents are unknown; see `notice_unknown`."""
    texts = [document.text for document in sample]
    if tokenizer.pre_tokenizer == "bert":
        _notice_vowel_signs(texts)
    count = total = 0
    for document in sample:
        try:
            tokens = tokenizer.tokenize(document.text)
        except TokenizerError as error:
            raise in_document(error, document.origin) from error
        count += tokenizer.convert_tokens_to_ids(tokens).count(tokenizer.unk_token_id)
        total += len(tokens)
    return _notice(count, total, f"a sample of {what}")


def notice_unknown_ids(tokenizer: BPETokenizer, rows: Iterable[Sequence[int]], what: str) -> bool:
    """Give a notice if many tokens of these rows of ids are unknown; see `notice_unknown`."""
    if tokenizer.unk_token_id is None:
        return False
    count = total = 0
    for row in rows:
        count += row.count(tokenizer.unk_token_id)
        total += len(row)
    return _notice(count, total, what)


def notice_vowel_signs(sources: Sequence[Source]) -> None:
    """Give a notice if BERT's rules would drop the vowel signs of the text."""
    _notice_vowel_signs([document.text for document in _sample(sources)])


def notice_unknown_so_far(count: int, total: int, read: float, what: str) -> bool:
    """Give a notice if text read so far has enough unknown tokens for a notice on the whole text.

    The number of tokens of the whole text is extrapolated, so that a place with many unknown tokens
    does not count for more than its share of the text.

    Args:
        count: Unknown tokens so far.
        total: Tokens so far.
        read: Share of the text read so far, 0 to 1. At the end, `notice_unknown_of` counts exactly.
        what: What the text is, for the notice.

    Returns:
        Whether there was a notice.
    """
    if not 0 < read < 1 or count * read < SHARE * total:
        return False
    return _notice(count, total, f"the first {read:.0%} of {what}")


def notice_unknown_of(shards: Shards) -> None:
    """Give a notice for each split of shards in which many tokens are unknown."""
    for name, stream in (("training", shards.train), ("validation", shards.valid)):
        _notice(stream.n_unknown, len(stream), f"the {name} text")


def _notice(count: int, total: int, what: str) -> bool:
    share = count / max(total, 1)
    if share < SHARE:
        return False
    tell("text-unknown", what=what, share=share, count=count, total=total)
    return True


def _notice_vowel_signs(texts: Sequence[str]) -> None:
    total = sum(map(len, texts))
    dropped = sum(
        unicodedata.category(char) == "Mn" and any(ord(char) in signs for signs in _VOWEL_SIGNS)
        for text in texts
        for char in text
        if char >= "\u0900"
    )
    if dropped / max(total, 1) >= SHARE:
        tell("vowel-signs-dropped", share=dropped / total)


def _sample(sources: Sequence[Source]) -> Iterator[Document]:
    """The beginnings of sources that are spread over all of them."""
    chosen = sources[:: -(-len(sources) // SAMPLED)] if sources else ()
    for source in chosen:
        left = SAMPLE // len(chosen)
        for document in documents([source]):
            yield document._replace(text=document.text[:left])
            left -= len(document.text)
            if left <= 0:
                break
