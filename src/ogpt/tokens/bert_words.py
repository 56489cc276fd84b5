"""Split text into words by BERT's rules, with the Rust library of OpenAIGPTTokenizerFast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from tokenizers import Encoding, Tokenizer

from ogpt.tokens.chunks import (
    LONGEST_WORD,
    check_word,
    chunk_lists,
    without_controls,
    without_surrogates,
)
from ogpt.tokens.rust_bpe import bert_normalizer, bert_pre_tokenizer
from ogpt.tokens.texts import Text
from ogpt.tokens.vocabulary import END_OF_WORD


class BertWords:
    """Splits text into lower-case words without accents; each punctuation character is a word."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}  # the Rust library's rules do not change
        self._normalizer = bert_normalizer()
        self._pre_tokenizer = bert_pre_tokenizer()

    def __call__(self, text: str) -> list[str]:
        """Return the words of a text."""
        self.check(text)
        return list(self._words(text))

    def check(self, text: str) -> None:
        """Check that no word of a text is longer than LONGEST_WORD.

        Raises:
            TokenizerError: a word is longer.
        """
        # The bound is in bytes of UTF-8, at most 4 per character; most texts are short enough
        if len(text) <= LONGEST_WORD // 4:
            return
        for chunk in chain.from_iterable(chunk_lists(without_controls(text))):
            if len(chunk) > LONGEST_WORD // 4:
                for word in self._words(chunk):
                    check_word(word)

    def encode(self, pipeline: Tokenizer, texts: Sequence[Text]) -> list[Encoding]:
        """Encode texts, or lists of words, with the BERT pipeline.

        Raises:
            TokenizerError: a word is longer than LONGEST_WORD.
        """
        for text in texts:
            for part in [text] if isinstance(text, str) else text:
                self.check(part)
        split = any(isinstance(text, list) for text in texts)
        rows = [
            without_surrogates(text)
            if isinstance(text, str)
            else [without_surrogates(word) for word in text]
            for text in texts
        ]
        return pipeline.encode_batch(rows, is_pretokenized=split, add_special_tokens=False)

    def _words(self, text: str) -> Iterator[str]:
        normal = self._normalizer.normalize_str(without_surrogates(text))
        return (word for word, _ in self._pre_tokenizer.pre_tokenize_str(normal))


def bert_pieces(pipeline: Tokenizer, text: str, unk_id: int) -> list[str]:
    """Tokenize a text with the BERT pipeline; unknown characters stay as they are, not `<unk>`."""
    normalizer = bert_normalizer()
    (encoding,) = BertWords().encode(pipeline, [text])
    words = [*encoding.word_ids, None]
    added = {index: token.content for index, token in pipeline.get_added_tokens_decoder().items()}
    tokens = []
    place, before = (0, 0), 0
    for index, token in enumerate(encoding.tokens):
        # normalization may turn one character into several, which all have its offsets
        before = before + 1 if encoding.offsets[index] == place else 0
        place = encoding.offsets[index]
        given = text[slice(*place)]
        if encoding.ids[index] == unk_id and given != token:
            piece = normalizer.normalize_str(given).strip()  # BERT puts spaces around ideographs
            ends_word = words[index] != words[index + 1]
            token = piece[before : before + 1] + END_OF_WORD * ends_word
        elif encoding.ids[index] != unk_id:
            token = added.get(encoding.ids[index], token)  # not its normalized form
        tokens.append(token)
    return tokens
