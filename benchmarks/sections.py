"""What the benchmark of native decoding asks of everybody, and the floors under it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from benchmarks.entrants import WITHOUT_CACHE, Entrant

BYTES_PER_WEIGHT = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}
"""The least: scales, which all need at 8 and 4 bits, are left out."""
BYTES_PER_CACHED = 2.0
"""Of a number in the cache of keys and values."""


@dataclass(frozen=True)
class Section:
    """The same work for all who take part."""

    name: str
    batch: int
    prompt: int
    """Tokens of each prompt."""
    new: int
    """Tokens to write after each prompt; 0: the prompts are read, for one token each."""
    look: int
    """New tokens of the short look before the rounds; of a section of prompts, their length."""
    by_precision: bool = False
    """Whether each precision has a target of its own."""

    @property
    def tokens(self) -> int:
        """That count, over all sequences."""
        return self.batch * (self.new or self.prompt)

    def prompts(self, vocab_size: int, length: int = 0) -> list[list[int]]:
        """The same random ids for all."""
        numbers = random.Random(self.batch)
        return [
            [numbers.randrange(vocab_size) for _ in range(length or self.prompt)]
            for _ in range(self.batch)
        ]

    def takes(self, entrant: Entrant) -> bool:
        """Whether an entrant has a part here."""
        if entrant.system == WITHOUT_CACHE:
            return self.batch == 1
        return self.batch > 1 or not entrant.half_cache  # one sequence has little to read of it


def full() -> list[Section]:
    """As docs/benchmarks.md describes them."""
    return [
        Section("batch 1", 1, 32, 256, 16, by_precision=True),
        Section("batch 8", 8, 32, 96, 16),
        Section("batch 32", 32, 32, 96, 8),
        Section("prompt of 512", 1, 512, 0, 128),
        Section("8 prompts of 512", 8, 512, 0, 64),
    ]


def smoke() -> list[Section]:
    """Tiny, with the same names."""
    sizes = [(8, 16, 8), (8, 4, 4), (8, 4, 4), (16, 0, 8), (16, 0, 8)]
    return [
        Section(one.name, one.batch, *size, by_precision=one.by_precision)
        for one, size in zip(full(), sizes, strict=True)
    ]


@dataclass(frozen=True)
class Work:
    """Of a model of this shape."""

    shape: dict[str, int]

    @property
    def block_weights(self) -> int:
        """Of the matrices of all blocks."""
        return 12 * self.shape["n_layer"] * self.shape["n_embd"] ** 2

    @property
    def head_weights(self) -> int:
        """Of the head, which is the embedding too."""
        return self.shape["vocab_size"] * self.shape["n_embd"]

    def most_by_bandwidth(self, section: Section, precision: str, bytes_per_s: float) -> float:
        """New tokens a second if nothing but reading takes time.

        A step reads all weights once, and the keys and values of all sequences.
        """
        weights = (self.block_weights + self.head_weights) * BYTES_PER_WEIGHT[precision]
        length = section.prompt + section.new / 2  # in the middle of the section
        numbers = 2 * self.shape["n_layer"] * self.shape["n_embd"] * length
        cache = section.batch * numbers * BYTES_PER_CACHED
        return section.batch * bytes_per_s / (weights + cache)

    def most_by_arithmetic(self, section: Section, ops_per_s: float) -> float:
        """Tokens a second if nothing but products of weights takes time, those of prompts too."""
        heads = section.new or 1  # of a prompt only the last position needs it
        products = (section.prompt + section.new) * self.block_weights + heads * self.head_weights
        return section.tokens * ops_per_s / (2 * section.batch * products)
