"""A byte-level tokenizer learned on a few texts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ogpt.tokens.byte_words import ByteWords
from ogpt.tokens.merge_learning import learn_byte_merges
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from ogpt.tokens.word_counting import count_words

SAMPLES = (
    "def f(x):\n    return x + 12345  # don't\r\n\r\n\tif x:\n\t\treturn 'Sam'\n",
    "The Case of Größe: “It’s late—go home…” cost $5,000.00, or 1234567.\n\n",
    "हिन्दी में, ภาษาไทย, 你好世界, русский, "
    "العربية, 한국어, 👩‍👩‍👧 😀\x00\x1c\x85\u2028\u3000\ufeff\ufffd",
    "  two  spaces   three \t tab\t\ttabs \n \n  \r\n end   ",
    "e\u0301 \u0301x O'Brien's 'tis I'LL x² ½ Ⅷ ١٢٣٤ a_b __init__ --> <unk> </w> <pad>",
)


def learned_bytes(
    texts: Sequence[str] = SAMPLES * 2, size: int = 400, **options: Any
) -> OpenAIGPTTokenizer:
    vocab, merges = learn_byte_merges(count_words(texts, ByteWords()), size)
    return OpenAIGPTTokenizer(vocab=vocab, merges=merges, pre_tokenizer="bytes", **options)


@functools.cache
def byte_tokenizer() -> OpenAIGPTTokenizer:
    return learned_bytes()
