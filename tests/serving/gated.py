"""A decoder whose calls the test permits, and what tests of an engine use."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Computed, Part, Scores
from ogpt.generation.texts.request import Request, prepare
from ogpt.serving.engine import Engine
from tests.markov import StandInDecoder, StandInTokenizer, contextual

TOKENIZER = StandInTokenizer()
V = len(TOKENIZER)
PATIENCE = 20  # seconds until a test that waits has failed


class GatedDecoder(StandInDecoder):
    """Computes a call when the test lets it, and remembers the parts of each."""

    def __init__(self, slots: int = 2, is_open: bool = True, n_positions: int = 2000) -> None:
        super().__init__(contextual(V).logits_of, V, n_positions, slots)
        self.abilities = self.abilities._replace(page=64)
        self.parts: list[list[Part]] = []
        self.is_open = is_open
        self.permits = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.error: BaseException | None = None

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        self._pass(parts)
        return super().run(parts, hidden=hidden)

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        self._pass([Part(slot, ids)])
        return super().score(slot, ids, targets, top)

    def _pass(self, parts: Sequence[Part]) -> None:
        self.parts.append(list(parts))
        self.entered.release()
        if not self.is_open:
            assert self.permits.acquire(timeout=PATIENCE)
        if self.error is not None:
            raise self.error

    def _logits(self, slot: int) -> np.ndarray:  # of the last tokens: prompts here are long
        return np.asarray(self.logits_of(tuple(self.held[slot][-7:])), dtype=np.float32)

    def open(self) -> None:
        """Let all calls compute."""
        self.is_open = True
        self.permits.release(1000)

    def is_computing(self) -> None:
        """Wait for the next call to begin."""
        assert self.entered.acquire(timeout=PATIENCE)


def request(prompt: str | list[int] = "a bad", **asked: Any) -> Request:
    settings = GenerationSettings(**{"max_new_tokens": 5, **asked})
    text, ids = (prompt, None) if isinstance(prompt, str) else (None, prompt)
    return prepare(TOKENIZER, 2000, V, text, ids, settings)


def ids(count: int, seed: int = 0) -> list[int]:
    found: list[int] = np.random.default_rng(seed).integers(1, V, count).tolist()
    return found


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.001)


def serving(decoder: Any, **options: Any) -> closing[Engine]:
    return closing(Engine(lambda: decoder, TOKENIZER, **options))
