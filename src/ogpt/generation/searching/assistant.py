"""Assisted decoding: a smaller model drafts several tokens, the model itself checks them at once.

The model processes the newest token and the draft in one call. The text then chooses its tokens
from the rows of logits as always, with the random numbers of their places; a row counts as long as
the choices equal the draft. So the draft changes the speed, and no token but for rounding.

Source: Leviathan, Kalman and Matias 2023 (arXiv 2211.17192); Chen et al. 2023 (arXiv 2302.01318).
There, tokens of the draft are accepted at random so that the distribution is kept; here they are
drawn with the same random numbers by both models, which keeps the tokens themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ogpt.errors import SamplingError
from ogpt.generation.choosing.drafting import Drafting
from ogpt.generation.choosing.random_numbers import sample, uniform
from ogpt.generation.choosing.rules import warp
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.protocol.summaries import log_sum_exp


def check_assisted(settings: GenerationSettings, vocab_size: int, of_assistant: int) -> None:
    """Check, before any weights are loaded, that an assistant can draft for a model.

    Args:
        settings: Of the texts.
        vocab_size: Of the model.
        of_assistant: Vocabulary size of the assistant.

    Raises:
        SamplingError: another size of the vocabulary, or another search than greedy search and
            sampling.
    """
    if of_assistant != vocab_size:
        raise SamplingError(
            f"assistant_model has a vocabulary of {of_assistant} tokens; allowed: {vocab_size}, as "
            "the model",
            hint="use an assistant with the tokenizer of the model",
        )
    for name, value, neutral in (
        ("num_beams", settings.num_beams, 1),
        ("penalty_alpha", settings.penalty_alpha, 0),
    ):
        if value != neutral:
            raise SamplingError(
                f"{name} is {value}; allowed with assistant_model: {neutral}",
                hint="omit assistant_model: it serves greedy search and sampling",
            )


class Assistant:
    """Drafts the next tokens of one text after the other.

    Args:
        decoder: Of the smaller model, which `check_assisted` accepts. Its first slot is used.
        settings: Of the texts.
        drafting: How many tokens.
    """

    def __init__(self, decoder: Decoder, settings: GenerationSettings, drafting: Drafting) -> None:
        self._decoder = decoder
        self._settings = settings
        self._drafting = drafting
        self._count = drafting.num_assistant_tokens
        self._first = 0  # the slot holds held[first:]
        self._held: list[int] = []

    def draft(self, ids: Sequence[int], n_prompt: int, number: int, most: int) -> list[int]:
        """Tokens that may follow a text.

        Args:
            ids: The text.
            n_prompt: How many of the ids are its prompt.
            number: Of the continuation; keys the random numbers.
            most: Maximum number of tokens.
        """
        drafted: list[int] = []
        count = min(self._count, most, self._decoder.n_positions)
        if count < 1:
            return drafted
        new = self._open(ids, count)
        while True:
            logits = self._decoder.run([Part(0, new)]).logits[0]
            token_id = self._next(logits, number, len(ids) - n_prompt + len(drafted))
            drafted.append(token_id)
            confidence = np.exp(float(logits[token_id]) - log_sum_exp(logits))
            unsure = confidence < self._drafting.assistant_confidence_threshold
            if unsure or len(drafted) == count:
                self._held = [*ids, *drafted[:-1]]
                return drafted
            new = [token_id]

    def took(self, drafted: int, right: int) -> None:
        """Learn how many tokens of the last draft were right."""
        if self._drafting.num_assistant_tokens_schedule != "constant":
            self._count = self._count + 2 if right == drafted else max(1, self._count - 1)

    def _open(self, ids: Sequence[int], count: int) -> list[int]:
        """Make the slot hold the text as far as it does; return the rest, one token or more."""
        n_positions = self._decoder.n_positions
        pairs = zip(self._held, ids[:-1], strict=False)
        common = next((n for n, (one, other) in enumerate(pairs) if one != other), None)
        if common is None:
            common = min(len(self._held), len(ids) - 1)
        if len(ids) + count - 1 - self._first > n_positions or common <= self._first:
            room = max(1, min(n_positions - count + 1, n_positions // 2))
            self._first = max(0, len(ids) - room) if len(ids) + count - 1 > n_positions else 0
            common = self._first
        self._decoder.truncate(0, common - self._first)
        self._held = list(ids[:common])
        return list(ids[common:])

    def _next(self, logits: Logits, number: int, written: int) -> int:
        """The next token by the settings, without their rules."""
        if not self._settings.do_sample:
            return int(logits.argmax())
        ids, left = warp(self._settings, logits)
        place = sample(left, uniform(self._settings.seed, number, written))
        return place if ids is None else int(ids[place])
