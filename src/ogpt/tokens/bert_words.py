"""Words as BERT's rules find them, by the Rust library that OpenAIGPTTokenizerFast runs on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ogpt.tokens.chunks import (
    LONGEST_WORD,
    check_word,
    chunk_lists,
    without_controls,
    without_surrogates,
)
from ogpt.tokens.pipeline import bert_normalizer, bert_pre_tokenizer


class BertWords:
    """Text to words in lower case without accents, each punctuation character a word."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}  # the Rust library's rules do not change
        self._normalizer = bert_normalizer()
        self._pre_tokenizer = bert_pre_tokenizer()

    def __call__(self, text: str) -> list[str]:
        """The words of a text."""
        self.check(text)
        return list(self._words(text))

    def check(self, text: str) -> None:
        """Refuse a text with a word longer than LONGEST_WORD.

        Raises:
            TokenizerError: there is one.
        """
        if len(text) <= LONGEST_WORD // 4:
            return
        for chunk in chain.from_iterable(chunk_lists(without_controls(text))):
            if len(chunk) > LONGEST_WORD // 4:
                for word in self._words(chunk):
                    check_word(word)

    def _words(self, text: str) -> Iterator[str]:
        normal = self._normalizer.normalize_str(without_surrogates(text))
        return (word for word, _ in self._pre_tokenizer.pre_tokenize_str(normal))
