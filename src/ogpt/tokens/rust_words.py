"""RustWords: a pre-tokenization that the Rust `tokenizers` library has as a whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from tokenizers import Encoding, Tokenizer

from ogpt.tokens.chunk_encoder import ChunkEncoder
from ogpt.tokens.chunks import LONGEST_WORD, check_word
from ogpt.tokens.texts import Text
from ogpt.tokens.vocabulary import Vocabulary


class RustWords(ABC):
    """Splits text into words or pieces, and encodes it with a pipeline of the Rust library."""

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}  # the Rust library's rules do not change

    def __call__(self, text: str) -> list[str]:
        """Return the words of a text, with the characters that the merges see."""
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
        for chunks in self.chunks(text):
            for chunk in chunks:
                if len(chunk) > LONGEST_WORD // 4:
                    for word in self._words(chunk):
                        check_word(word)

    def prepared(self, text: str) -> str:
        """Return the characters of a text that can be encoded, which is checked.

        Raises:
            TokenizerError: a word is longer than LONGEST_WORD, or a character is refused.
        """
        self.check(text)
        return text

    def encode(self, pipeline: Tokenizer, texts: Sequence[Text]) -> list[Encoding]:
        """Encode texts, or lists of words.

        Raises:
            TokenizerError: a word is longer than LONGEST_WORD, or a character is refused.
        """
        split = any(isinstance(text, list) for text in texts)
        rows = [
            self.prepared(text) if isinstance(text, str) else list(map(self.prepared, text))
            for text in texts
        ]
        return pipeline.encode_batch(rows, is_pretokenized=split, add_special_tokens=False)

    @abstractmethod
    def chunks(self, text: str) -> Iterator[list[str]]:
        """Yield the chunks of a text, of whole words each, about a million characters at a time."""

    @abstractmethod
    def pipeline(self, vocabulary: Vocabulary, unk_token: str | None) -> Tokenizer:
        """Make the Rust tokenizer, without added tokens."""

    @abstractmethod
    def encoder(self, pipeline: Tokenizer) -> ChunkEncoder:
        """Return what encodes texts to arrays."""

    @abstractmethod
    def pieces(self, pipeline: Tokenizer, text: str, unk_id: int | None) -> list[str]:
        """Return the tokens of a text."""

    @abstractmethod
    def _words(self, text: str) -> Iterator[str]:
        """Yield the words of a text."""
