"""Literal implementations of the tokenizations, slow and without any code of ogpt.

The 2018 order is that of OpenAI's text_utils: fix_text, text_standardize, spaCy, lower case, BPE.
transformers 4 lower-cases letter by letter before all that; its other path is BERT's rules.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

DASHES = {"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"}
SPACED = '-~!";?+,)(\\/*[]}{|_'


def text_standardize(text: str) -> str:
    for sign, plain in DASHES.items():
        text = text.replace(sign, plain)
    runs = "|".join(f"{re.escape(sign)}+" for sign in SPACED)
    text = re.sub(f"({runs})", r" \1 ", text)
    text = re.sub(r"\s*\n\s*", " \n ", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return text.strip()


@cache
def english() -> Any:
    from spacy.lang.en import English

    return English().tokenizer


def openai_words(text: str) -> list[str]:
    import ftfy

    return [word.text.lower() for word in english()(text_standardize(ftfy.fix_text(text)))]


def hf_spacy_words(text: str) -> list[str]:
    return openai_words("".join(character.lower() for character in text))


def bert_words(text: str) -> list[str]:
    """BasicTokenizer, with Python's own Unicode table."""
    kept = []
    for character in text:
        kind = unicodedata.category(character)
        if character in "\t\n\r" or kind == "Zs":
            kept.append(" ")
        elif ord(character) in (0, 0xFFFD) or kind.startswith("C"):
            continue
        elif _ideograph(ord(character)):
            kept.append(f" {character} ")
        else:
            kept.append(character)
    words: list[str] = []
    for chunk in unicodedata.normalize("NFC", "".join(kept)).split():
        decomposed = unicodedata.normalize("NFD", chunk.lower())
        plain = "".join(one for one in decomposed if unicodedata.category(one) != "Mn")
        spaced = "".join(f" {one} " if _punctuation(one) else one for one in plain)
        words += spaced.split()
    return words


def _ideograph(point: int) -> bool:
    blocks = (
        (0x4E00, 0x9FFF),
        (0x3400, 0x4DBF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
        (0x2B820, 0x2CEAF),
        (0xF900, 0xFAFF),
        (0x2F800, 0x2FA1F),
    )
    return any(first <= point <= last for first, last in blocks)


def _punctuation(character: str) -> bool:
    point = ord(character)
    ascii_marks = ((33, 47), (58, 64), (91, 96), (123, 126))
    if any(first <= point <= last for first, last in ascii_marks):
        return True
    return unicodedata.category(character).startswith("P")


class Bpe:
    """Byte-pair encoding of one word: the best-ranked pair is merged until there is none."""

    def __init__(self, vocab: dict[str, int], merges: list[tuple[str, str]]) -> None:
        self.vocab = vocab
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.known: dict[str, list[str]] = {}

    @classmethod
    def open(cls, folder: Path) -> Bpe:
        vocab = json.loads((folder / "encoder_bpe_40000.json").read_text("utf-8"))
        lines = (folder / "vocab_40000.bpe").read_text("utf-8").split("\n")[1:-1]
        return cls(vocab, [(line.split()[0], line.split()[1]) for line in lines])

    def pieces(self, word: str) -> list[str]:
        if word in self.known:
            return self.known[word]
        symbols = [*word[:-1], word[-1] + "</w>"]
        while len(symbols) > 1:
            pairs = [(symbols[i], symbols[i + 1]) for i in range(len(symbols) - 1)]
            best = min(pairs, key=lambda pair: self.ranks.get(pair, 1 << 30))
            if best not in self.ranks:
                break
            merged: list[str] = []
            place = 0
            while place < len(symbols):
                if tuple(symbols[place : place + 2]) == best:
                    merged.append("".join(best))
                    place += 2
                else:
                    merged.append(symbols[place])
                    place += 1
            symbols = merged
        joined = " ".join(symbols)
        if joined == "\n  </w>":  # spaCy takes the space after a line break with it
            joined = "\n</w>"
        self.known[word] = joined.split(" ")
        return self.known[word]

    def ids(self, words: list[str]) -> list[int]:
        return [self.vocab.get(piece, 0) for word in words for piece in self.pieces(word)]
