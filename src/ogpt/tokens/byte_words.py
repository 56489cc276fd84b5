"""Byte-level pieces: split text into words, spaces and line breaks, and lose none of it.

As in GPT-2, every byte of UTF-8 is one of 256 printable characters (`Ġ` is the space, `Ċ` the line
break), so that a vocabulary with these 256 entries encodes any text, without `<unk>`. The rules are
saved in tokenizer.json, from which transformers reads them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from ogpt.errors import TokenizerError
from ogpt.tokens.chunk_encoder import REMEMBERED, ChunkEncoder
from ogpt.tokens.rust_words import RustWords
from ogpt.tokens.vocabulary import Vocabulary

PATTERN = "|".join(
    (
        r"(?<=\p{L})['’](?i:[sdmt]|ll|ve|re)(?!\p{L})",  # 's of a word, but not of a quoted 'said
        r" ?[\p{L}\p{M}]+",  # a word with its accents and vowel signs
        r" ?\p{N}{1,3}",  # as in GPT-4: all numbers to 999 can be one token each
        r" ?[^\s\p{L}\p{M}\p{N}]+",
        r"[\r\n]+",
        r"[^\S\r\n]+(?= \S)",  # indentation; its last space belongs to the word that follows
        r"[^\S\r\n]+",
    )
)
"""What one piece is, for the regular expressions of the `tokenizers` library (Oniguruma). The
alternatives are those of GPT-2, with line breaks apart, digits in threes and marks in words."""

_PRE_TOKENIZER = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
)
# White space of Oniguruma: str.isspace() also counts the separators U+001C to U+001F
_SPACE = r" \t\n\v\f\r\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_BLANK = _SPACE.replace(r"\n", "").replace(r"\r", "")
_CHUNK = re.compile(f" ?[^{_SPACE}]+|[\r\n]+|[{_BLANK}]+(?= [^{_SPACE}])|[{_BLANK}]+")
_CUT = re.compile(f" (?=[^{_SPACE}])")
_OF_MODEL = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
_AT_ONCE = 1 << 20  # characters split at once: the list of chunks of a long text would be large


def _byte_letters() -> dict[int, str]:
    """Return the character of each byte (`bytes_to_unicode` of GPT-2's encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + place) for place, byte in enumerate(others)
    }


_LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in _LETTERS.items()}
BYTE_LETTERS = sorted(_BYTES)
"""The characters of all bytes, in the order of GPT-2's vocabulary."""


def bytes_of(token: str) -> bytes:
    """Return the bytes of a token of byte letters."""
    return bytes(map(_BYTES.__getitem__, token))


class ByteWords(RustWords):
    """Splits text into pieces of byte letters: words with their space, digits, line breaks."""

    def __call__(self, text: str) -> list[str]:
        """Return the pieces of a text, in byte letters."""
        self.check(text)
        return [letters for letters, _ in _PRE_TOKENIZER.pre_tokenize_str(text)]

    def prepared(self, text: str) -> str:
        """Return the text itself, which is checked.

        Raises:
            TokenizerError: it has a lone surrogate, or a piece longer than LONGEST_WORD.
        """
        try:
            text.encode()  # the fastest test
        except UnicodeEncodeError as error:
            raise TokenizerError(
                f"the text has the lone surrogate {text[error.start]!r} at character "
                f"{error.start:,}; allowed: Unicode characters, which UTF-8 can encode",
                hint="read the text as UTF-8, or remove the surrogates: "
                "text.encode(errors='ignore').decode()",
            ) from error
        return super().prepared(text)

    def chunks(self, text: str) -> Iterator[list[str]]:
        """Yield chunks of whole pieces, about a million characters at a time.

        The pieces of a chunk do not depend on its neighbours.
        """
        start = 0
        while len(text) - start > _AT_ONCE:
            cut = _CUT.search(text, start + _AT_ONCE)
            if cut is None:
                break
            yield _CHUNK.findall(text, start, cut.start())
            start = cut.start()
        yield _CHUNK.findall(text, start)

    def pipeline(self, vocabulary: Vocabulary, unk_token: str | None = None) -> Tokenizer:
        """Make a Rust tokenizer that encodes and decodes every text without loss.

        Raises:
            TokenizerError: the vocabulary lacks a byte.
        """
        missing = [letter for letter in BYTE_LETTERS if letter not in vocabulary.vocab]
        if missing:
            raise TokenizerError(
                f"the vocabulary has no entry for {len(missing)} of the 256 bytes, such as "
                f"{_BYTES[missing[0]]:#04x} ({missing[0]!r}); pre_tokenizer 'bytes' needs all",
                hint="use the pre-tokenization that the vocabulary was made with, or train one "
                "with ogpt train-tokenizer --pre-tokenizer bytes",
            )
        pipeline = Tokenizer(BPE(vocab=vocabulary.vocab, merges=vocabulary.merges))
        pipeline.pre_tokenizer = _PRE_TOKENIZER
        pipeline.decoder = decoders.ByteLevel()
        return pipeline

    def encoder(self, pipeline: Tokenizer) -> ChunkEncoder:
        """Return what encodes texts to arrays."""
        return ByteEncoder(pipeline)

    def pieces(self, pipeline: Tokenizer, text: str, unk_id: int | None) -> list[str]:
        """Return the tokens of a text, in byte letters."""
        return self.encode(pipeline, [text])[0].tokens

    def _words(self, text: str) -> Iterator[str]:
        return (text[slice(*place)] for _, place in _PRE_TOKENIZER.pre_tokenize_str(text))


class ByteEncoder(ChunkEncoder):
    """Encodes with a pipeline of ByteWords and a table of the chunks seen so far."""

    def __init__(self, tokenizer: Tokenizer, remembered: int = REMEMBERED) -> None:
        super().__init__(tokenizer, remembered)
        added = tokenizer.get_added_tokens_decoder().values()
        self._contents = [token.content for token in added]
        self._byte_words = ByteWords()

    def _chunks(self, text: str) -> Iterable[list[str]] | None:
        # an added token divides the text before it, also inside a run of spaces
        divided = any(content in text for content in self._contents)
        return None if divided else self._byte_words.chunks(text)

    def _learn(self, table: dict[str, bytes], chunks: list[str]) -> None:
        table.update(zip(chunks, self._encode(chunks), strict=True))


def is_byte_file(pipeline: dict[str, Any]) -> bool:
    """Return whether the content of a tokenizer.json is that of ByteWords, but for the entries."""
    empty = Tokenizer(BPE())
    empty.pre_tokenizer = _PRE_TOKENIZER
    expected = json.loads(empty.to_str())
    model = pipeline.get("model")
    return (
        all(pipeline.get(part) == expected[part] for part in ("normalizer", "pre_tokenizer"))
        and isinstance(model, dict)
        and all(model.get(name) == expected["model"][name] for name in ("type", *_OF_MODEL))
    )


def is_other_byte_level(pipeline: dict[str, Any]) -> bool:
    """Return whether a tokenizer.json has byte letters as ByteWords, but splits text otherwise."""
    model = pipeline.get("model")
    return (
        isinstance(model, dict)
        and model.get("type") == "BPE"
        and not model.get("end_of_word_suffix")
        and '"ByteLevel"' in json.dumps(pipeline.get("pre_tokenizer"))
        and not is_byte_file(pipeline)
    )
