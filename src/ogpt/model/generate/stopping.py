"""What ends a continuation besides its settings: stop strings and the caller's criteria."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ogpt.errors import SamplingError
from ogpt.generation.choosing.arguments import Arguments
from ogpt.generation.texts.writer import Vocabulary, Writer, ends_word, stop_forms
from ogpt.model.generate.prompts import Prompts
from ogpt.notices import tell

StoppingCriteria = Callable[[Tensor, Any], Any]
"""Given (ids so far (1, T), None), says whether this row ends: a bool or a bool tensor."""


class Stops:
    """What ends a row besides the settings: stop strings and the caller's criteria."""

    def __init__(
        self,
        rows: Prompts,
        asked: Arguments,
        tokenizer: Vocabulary | None,
        criteria: Sequence[StoppingCriteria],
        n_rows: int,
    ) -> None:
        if asked.stop_strings and tokenizer is None:
            raise SamplingError(
                f"stop_strings is {asked.stop_strings!r} and there is no tokenizer to read the "
                "text with",
                hint="pass tokenizer=...",
            )
        settings = asked.settings
        ends = settings.pad_token_id is not None or settings.eos_token_id
        if (asked.stop_strings or criteria) and n_rows > 1 and not ends:
            raise SamplingError(
                f"pad_token_id is None and {n_rows} rows may end at different places; allowed: a "
                "token id",
                hint="pass pad_token_id=0, or any token that fills up rows that have ended",
            )
        self._rows = rows
        self._criteria = list(criteria)
        self._tokenizer = tokenizer
        self._min_tokens = settings.min_new_tokens
        self._per_prompt = settings.num_return_sequences
        self._stop = [] if tokenizer is None else _forms(tokenizer, asked.stop_strings)
        self._written: dict[int, list[int]] = {}
        self._writers: dict[int, Writer] = {}

    def of_token(self, continuation: int, token_id: int) -> bool:
        """Whether a row ends with this token."""
        prompt = self._rows.openings[continuation // self._per_prompt].ids
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
        """Whether a beam ends here, read anew as beams come and go."""
        if self._stop:
            writer = self._writer(ids[:n_prompt])
            for token_id in ids[n_prompt:]:
                writer.write(token_id)
                if writer.stopped:
                    return True
        return self._meets(ids)

    def _writer(self, prompt: Sequence[int]) -> Writer:
        assert self._tokenizer is not None  # there are stop strings, see __init__
        after_word = bool(prompt) and ends_word(self._tokenizer, prompt[-1])
        return Writer(
            self._tokenizer, after_word=after_word, stop=self._stop, min_tokens=self._min_tokens
        )

    def _meets(self, ids: Sequence[int]) -> bool:
        row = torch.tensor([list(ids)])
        return any(bool(torch.as_tensor(ends(row, None)).any()) for ends in self._criteria)


def _forms(tokenizer: Vocabulary, strings: Sequence[str]) -> list[str]:
    """The stop strings in every form that the vocabulary can write.

    Raises:
        SamplingError: an empty one, or none.
    """
    forms: list[str] = []
    for string in strings:
        if not isinstance(string, str) or not string:
            raise SamplingError(
                f"stop_strings holds {string!r}; allowed: strings of one character or more",
                hint="leave it out",
            )
        found = stop_forms(tokenizer, string)
        if not found:
            reason = "this vocabulary cannot write it"
            tell("setting-without-effect", setting=f"stop_strings={string!r}", reason=reason)
        forms += found
    return forms
