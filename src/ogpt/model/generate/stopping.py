"""Stop strings and stopping criteria: ends of a continuation that its settings do not know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from ogpt.errors import SamplingError
from ogpt.generation.choosing.arguments import Arguments
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.searching.text import Token
from ogpt.generation.texts.recording import Record, padding_id
from ogpt.generation.texts.writer import TokenizerLike, Writer, ends_word, stop_forms
from ogpt.model.generate.prompts import Prompts
from ogpt.notices import tell

StoppingCriteria = Callable[[Tensor, Any], Any]
"""A function of (ids so far (rows, T), scores) that returns which rows end: a bool for all of them,
or bools (rows,). The ids are those of the whole batch, prompts with their padding; rows that have
ended are padded. Scores are a tuple with (rows, V) for each new token, if output_scores and
return_dict_in_generate are True, else None. In beam search the rows are the candidates of one
prompt, and the scores those of its beams."""


class Stops:
    """Decides whether a row ends by a stop string or by one of the caller's criteria.

    Args:
        prompts: The prompts.
        asked: The arguments of the call.
        tokenizer: Decodes the text for stop strings.
        criteria: The caller's.
        n_rows: Number of continuations.
        record: Holds the scores that criteria receive.

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
        record: Record,
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
        self._rows = prompts.ids.repeat_interleave(settings.num_return_sequences, dim=0)
        self._pad = padding_id(settings)
        self._record = record if asked.output_scores else None
        self._criteria = list(criteria)
        self._tokenizer = tokenizer
        self._min_tokens = settings.min_new_tokens
        self._per_prompt = settings.num_return_sequences
        self._stop = [] if tokenizer is None else _forms(tokenizer, asked.stop_strings)
        self._written: list[list[int]] = [[] for _ in range(n_rows)]
        self._ended: set[int] = set()
        self._writers: dict[int, Writer] = {}

    def check_alone(self) -> None:
        """Check that no criterion needs the rows of a batch to grow together.

        Raises:
            SamplingError: criteria and several rows.
        """
        if self._criteria and len(self._written) > 1:
            raise SamplingError(
                f"stopping_criteria and assistant_model with {len(self._written)} rows; allowed: "
                "one row",
                hint="call generate for each prompt, or omit one of the two",
            )

    def of_tokens(self, tokens: Sequence[Token]) -> Collection[int]:
        """Append a new token to each row that runs; return the rows that end with theirs."""
        over = set()
        for row, token_id, _, reason, _ in tokens:
            self._written[row].append(token_id)
            if reason != "stop" and self._stop and self._stops(row, token_id):
                over.add(row)
        if self._criteria:
            over |= self._meet([token.continuation for token in tokens])
        return over

    def of_beams(
        self, number: int, candidates: Sequence[Sequence[int]], n_prompt: int
    ) -> Sequence[bool]:
        """Which candidates of a prompt end here.

        Their texts are decoded from the start: beams change places.
        """
        over = [bool(self._stop) and self._spells_stop(ids, n_prompt) for ids in candidates]
        if not self._criteria or not candidates:
            return over
        new = torch.tensor([ids[n_prompt:] for ids in candidates]).to(self._rows)
        first = number * self._per_prompt
        rows = torch.cat([self._rows[first].expand(len(candidates), -1), new], dim=1)
        steps = None if self._record is None else self._record.scores_of_beams(number)
        met = self._ask(rows, steps)
        return [one or other for one, other in zip(over, met, strict=True)]

    def _stops(self, row: int, token_id: int) -> bool:
        if row not in self._writers:
            self._writers[row] = self._writer(self._prompts[row // self._per_prompt].ids)
        self._writers[row].write(token_id)
        return self._writers[row].stopped

    def _spells_stop(self, ids: Sequence[int], n_prompt: int) -> bool:
        writer = self._writer(ids[:n_prompt])
        for token_id in ids[n_prompt:]:
            writer.write(token_id)
            if writer.stopped:
                return True
        return False

    def _meet(self, running: Sequence[int]) -> set[int]:
        """Those of the rows that run which a criterion ends."""
        longest = max(map(len, self._written))
        padded = [[*ids, *[self._pad] * (longest - len(ids))] for ids in self._written]
        rows = torch.cat([self._rows, torch.tensor(padded).to(self._rows)], dim=1)
        steps = None if self._record is None else self._record.scores_of_rows(longest)
        met = self._ask(rows, steps)
        return {row for row in running if met[row]}

    def _ask(self, rows: Tensor, steps: Sequence[Logits] | None) -> list[bool]:
        """Whether any criterion ends each row.

        Raises:
            SamplingError: a criterion returns anything but a bool, or one for each row.
        """
        scores = None
        if steps is not None:
            scores = tuple(torch.from_numpy(step).to(rows.device) for step in steps)
        over = torch.zeros(len(rows), dtype=torch.bool)
        for criterion in self._criteria:
            found = torch.as_tensor(criterion(rows, scores)).cpu().bool().flatten()
            if len(found) not in (1, len(rows)):
                raise SamplingError(
                    f"a stopping criterion returned {len(found)} values for {len(rows)} rows; "
                    "allowed: one, or one for each row",
                    hint="return a tensor of bools (rows,)",
                )
            over |= found
        return over.tolist()

    def _writer(self, prompt: Sequence[int]) -> Writer:
        assert self._tokenizer is not None  # __init__ checks it for stop strings
        after_word = bool(prompt) and ends_word(self._tokenizer, prompt[-1])
        return Writer(
            self._tokenizer, after_word=after_word, stop=self._stop, min_tokens=self._min_tokens
        )


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
