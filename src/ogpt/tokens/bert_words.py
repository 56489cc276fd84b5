"""Words as BERT's rules find them, by the Rust library that OpenAIGPTTokenizerFast runs on."""

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

    def encode(self, pipeline: Tokenizer, texts: Sequence[Text]) -> list[Encoding]:
        """The tokens of each text, or of each list of words, by the bert pipeline.

        Raises:
            TokenizerError: a word longer than LONGEST_WORD.
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
    """The tokens of a text by the bert pipeline; an unknown character stands for itself."""
    normalizer = bert_normalizer()
    (encoding,) = BertWords().encode(pipeline, [text])
    words = [*encoding.word_ids, None]
    added = {index: token.content for index, token in pipeline.get_added_tokens_decoder().items()}
    tokens = []
    place, before = (0, 0), 0
    for index, token in enumerate(encoding.tokens):
        # one character may become several, and all of them stand at its place
        before = before + 1 if encoding.offsets[index] == place else 0
        place = encoding.offsets[index]
        given = text[slice(*place)]
        if encoding.ids[index] == unk_id and given != token:
            piece = normalizer.normalize_str(given).strip()  # spaces stand round ideographs
            ends_word = words[index] != words[index + 1]
            token = piece[before : before + 1] + END_OF_WORD * ends_word
        elif encoding.ids[index] != unk_id:
            token = added.get(encoding.ids[index], token)  # as it was added
        tokens.append(token)
    return tokens
