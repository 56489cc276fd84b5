"""The tasks of the native decoding benchmark, and their floors."""

from __future__ import annotations

import random
from dataclasses import dataclass

from benchmarks.entrants import WITHOUT_CACHE, Entrant

BYTES_PER_WEIGHT = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}
"""A lower bound: the scales of 8 and 4 bits are not counted."""
BYTES_PER_CACHED = 2.0
"""Bytes per number of the KV cache."""


@dataclass(frozen=True)
class Section:
    """One task, the same for all systems."""

    name: str
    batch: int
    prompt: int
    """Tokens of each prompt."""
    new: int
    """New tokens per prompt; 0 measures prefill alone, with one token per prompt."""
    trial: int
    """New tokens in the short trial before the rounds; for prefill, the prompt length."""
    by_precision: bool = False
    """Whether each precision has a target of its own."""

    @property
    def tokens(self) -> int:
        """Tokens that are counted, over all sequences."""
        return self.batch * (self.new or self.prompt)

    def prompts(self, vocab_size: int, length: int = 0, turn: int = 0) -> list[list[int]]:
        """Random ids, the same for all systems, and others in each turn."""
        numbers = random.Random(self.batch + 1000 * turn)  # no batch is that large
        return [
            [numbers.randrange(vocab_size) for _ in range(length or self.prompt)]
            for _ in range(self.batch)
        ]

    def takes(self, entrant: Entrant) -> bool:
        """Whether an entrant takes part in this section."""
        if entrant.system == WITHOUT_CACHE:
            return self.batch == 1
        return self.batch > 1 or not entrant.half_cache  # one sequence has a small cache


def full() -> list[Section]:
    """The sections that docs/benchmarks.md describes."""
    return [
        Section("batch 1", 1, 32, 256, 16, by_precision=True),
        Section("batch 8", 8, 32, 96, 16),
        Section("batch 32", 32, 32, 96, 8),
        Section("prompt of 512", 1, 512, 0, 128),
        Section("8 prompts of 512", 8, 512, 0, 64),
    ]


def smoke() -> list[Section]:
    """Tiny sections with the same names."""
    sizes = [(8, 16, 8), (8, 4, 4), (8, 4, 4), (16, 0, 8), (16, 0, 8)]
    return [
        Section(one.name, one.batch, *size, by_precision=one.by_precision)
        for one, size in zip(full(), sizes, strict=True)
    ]


@dataclass(frozen=True)
class Work:
    """Least work of a model of this shape."""

    shape: dict[str, int]

    @property
    def block_weights(self) -> int:
        """Weights in the matrices of all blocks."""
        return 12 * self.shape["n_layer"] * self.shape["n_embd"] ** 2

    @property
    def head_weights(self) -> int:
        """Weights of the head, which is also the embedding."""
        return self.shape["vocab_size"] * self.shape["n_embd"]

    def most_by_bandwidth(self, section: Section, precision: str, bytes_per_s: float) -> float:
        """New tokens per second if only memory reads take time.

        A step reads all weights and the KV cache of all sequences once.
        """
        weights = (self.block_weights + self.head_weights) * BYTES_PER_WEIGHT[precision]
        length = section.prompt + section.new / 2  # in the middle of the section
        numbers = 2 * self.shape["n_layer"] * self.shape["n_embd"] * length
        cache = section.batch * numbers * BYTES_PER_CACHED
        return section.batch * bytes_per_s / (weights + cache)

    def most_by_arithmetic(self, section: Section, ops_per_s: float) -> float:
        """Tokens per second if only products of weights take time, prefill included."""
        heads = section.new or 1  # prefill needs it for the last position only
        products = (section.prompt + section.new) * self.block_weights + heads * self.head_weights
        return section.tokens * ops_per_s / (2 * section.batch * products)
