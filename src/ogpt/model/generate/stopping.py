"""Stop strings and stopping criteria: ends of a continuation that its settings do not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ogpt.errors import SamplingError
from ogpt.generation.choosing.arguments import Arguments
from ogpt.generation.texts.writer import TokenizerLike, Writer, ends_word, stop_forms
from ogpt.model.generate.prompts import Prompts
from ogpt.notices import tell

StoppingCriteria = Callable[[Tensor, Any], Any]
"""A function of (ids so far (1, T), None) that returns whether this row ends: a bool, or a bool
tensor."""


class Stops:
    """Decides whether a row ends by a stop string or by one of the caller's criteria.

    Args:
        prompts: The prompts.
        asked: The arguments of the call.
        tokenizer: Decodes the text for stop strings.
        criteria: The caller's.
        n_rows: Number of continuations.

    Raises:
        SamplingError: stop strings without a tokenizer, an invalid stop string, or several rows
            without a token to pad them with.
    """

    def __init__(
        self,
        prompts: Prompts,
        asked: Arguments,
        tokenizer: TokenizerLike | None,
        criteria: Sequence[StoppingCriteria],
        n_rows: int,
    ) -> None:
        if asked.stop_strings and tokenizer is None:
            raise SamplingError(
                f"stop_strings is {asked.stop_strings!r} without a tokenizer; allowed: with one",
                hint="pass tokenizer=...",
            )
        settings = asked.settings
        ends = settings.pad_token_id is not None or settings.eos_token_id
        if (asked.stop_strings or criteria) and n_rows > 1 and not ends:
            raise SamplingError(
                f"pad_token_id is None and {n_rows} rows may have different lengths; allowed: a "
                "token id",
                hint="pass pad_token_id=0, or another id to pad rows with",
            )
        self._prompts = prompts.rows
        self._criteria = list(criteria)
        self._tokenizer = tokenizer
        self._min_tokens = settings.min_new_tokens
        self._per_prompt = settings.num_return_sequences
        self._stop = [] if tokenizer is None else _forms(tokenizer, asked.stop_strings)
        self._written: dict[int, list[int]] = {}
        self._writers: dict[int, Writer] = {}

    def of_token(self, continuation: int, token_id: int) -> bool:
        """Append a token to a row; return whether the row ends with it."""
        prompt = self._prompts[continuation // self._per_prompt].ids
        if continuation not in self._writers and self._stop:
            self._writers[continuation] = self._writer(prompt)
        ids = self._written.setdefault(continuation, list(prompt))
        ids.append(token_id)
        if self._stop:
            self._writers[continuation].write(token_id)
            if self._writers[continuation].stopped:
                return True
        return self._meets(ids)

    def of_beam(self, ids: Sequence[int], n_prompt: int) -> bool:
        """Whether a beam ends here. Its text is decoded from the start: beams change places."""
        if self._stop:
            writer = self._writer(ids[:n_prompt])
            for token_id in ids[n_prompt:]:
                writer.write(token_id)
                if writer.stopped:
                    return True
        return self._meets(ids)

    def _writer(self, prompt: Sequence[int]) -> Writer:
        assert self._tokenizer is not None  # __init__ checks it for stop strings
        after_word = bool(prompt) and ends_word(self._tokenizer, prompt[-1])
        return Writer(
            self._tokenizer, after_word=after_word, stop=self._stop, min_tokens=self._min_tokens
        )

    def _meets(self, ids: Sequence[int]) -> bool:
        row = torch.tensor([list(ids)])
        return any(bool(torch.as_tensor(ends(row, None)).any()) for ends in self._criteria)


def _forms(tokenizer: TokenizerLike, strings: Sequence[str]) -> list[str]:
    """The stop strings in every form that the vocabulary can produce.

    Raises:
        SamplingError: a stop string that is empty or not a string.
    """
    forms: list[str] = []
    for string in strings:
        if not isinstance(string, str) or not string:
            raise SamplingError(
                f"stop_strings holds {string!r}; allowed: strings of one character or more",
                hint="omit it",
            )
        found = stop_forms(tokenizer, string)
        if not found:
            reason = "this vocabulary cannot produce it"
            tell("setting-without-effect", setting=f"stop_strings={string!r}", reason=reason)
        forms += found
    return forms
