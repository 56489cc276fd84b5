"""Scores and logits of every step, for output_scores and output_logits; those of chosen tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.choosing.arguments import Arguments
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.logits import Logits


class Record:
    """Collects the scores and logits of every step, if requested.

    Args:
        asked: The arguments of the call.
    """

    def __init__(self, asked: Arguments) -> None:
        self._scores = asked.output_scores
        self._logits = asked.output_logits
        self.wanted = self._scores or self._logits
        self._rows: dict[int, list[tuple[Logits, Logits]]] = {}
        self._beams: dict[int, list[tuple[Logits, Logits]]] = {}

    def row(self, continuation: int, logits: Logits, scores: Logits) -> None:
        """Add a step of one row: a `Watch` of search."""
        self._rows.setdefault(continuation, []).append((logits.copy(), scores.copy()))

    def beams(self, prompt: int, logits: Logits, scores: Logits) -> None:
        """Add a step of the beams of one prompt: a `Watch` of beam_search."""
        self._beams.setdefault(prompt, []).append((logits.copy(), scores.copy()))

    def scores_of_rows(self, count: int) -> list[Logits]:
        """Scores of the first `count` new tokens of all rows, (rows, V); -inf after an end."""
        rows = [self._rows.get(row, []) for row in range(max(self._rows) + 1)]
        ended = np.full_like(self._rows[0][0][1], -np.inf)
        return [
            np.stack([row[at][1] if at < len(row) else ended for row in rows])
            for at in range(count)
        ]

    def scores_of_beams(self, prompt: int) -> list[Logits]:
        """Scores of the beams of one prompt at each step so far, (num_beams, V)."""
        return [scores for _, scores in self._beams.get(prompt, [])]

    def steps(
        self, n_rows: int, settings: GenerationSettings
    ) -> tuple[list[Logits] | None, list[Logits] | None]:
        """Scores and logits, for each step (rows, V); None if not requested.

        After the end of a row the padding token has the log-probability 0, all others -inf.
        """
        steps = _aligned(self._beams)
        if self._rows:
            ended = np.full_like(self._rows[0][0][0], -np.inf)
            if 0 <= padding_id(settings) < len(ended):  # padding may be no token
                ended[padding_id(settings)] = 0.0
            longest = max(map(len, self._rows.values()))
            filled = [
                [*self._rows[row], *[(ended, ended)] * (longest - len(self._rows[row]))]
                for row in range(n_rows)
            ]
            steps = [
                (np.stack([row[at][0] for row in filled]), np.stack([row[at][1] for row in filled]))
                for at in range(longest)
            ]
        logits, scores = ([step[part] for step in steps] for part in (0, 1))
        return scores if self._scores else None, logits if self._logits else None


def padding_id(settings: GenerationSettings) -> int:
    """The token after the end of a row; without one, no row ends early and 0 is never used."""
    if settings.pad_token_id is not None:
        return settings.pad_token_id
    return settings.eos_token_id[0] if settings.eos_token_id else 0


def transition_scores(
    sequences: NDArray[Any],
    scores: Sequence[Logits],
    beam_indices: NDArray[Any] | None,
    normalize_logits: bool,
) -> Logits:
    """The score of each generated token, (rows, new tokens).

    Args:
        sequences: From the output of `generate`, (rows, longest).
        scores: From the same output, for each step (rows or beams, V).
        beam_indices: From the same output, for beam search; -1 after the end of a beam.
        normalize_logits: Turn scores into log-probabilities first.
    """
    stacked = np.stack(scores, axis=1)  # (rows or beams, steps, V)
    if normalize_logits:
        with np.errstate(invalid="ignore"):  # a row that has ended may have no token: NaN
            shifted = stacked - stacked.max(axis=-1, keepdims=True)
            stacked = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    if beam_indices is None:
        new = sequences[:, sequences.shape[1] - stacked.shape[1] :]
        found: Logits = np.take_along_axis(stacked, new[..., None], axis=-1)[..., 0]
        return found
    # a search may run for more steps than its best beam is long
    new = sequences[:, sequences.shape[1] - beam_indices.shape[1] :]
    of_beams = stacked[beam_indices.clip(min=0), np.arange(new.shape[1]), new]
    kept: Logits = np.where(beam_indices < 0, np.zeros_like(of_beams), of_beams)
    return kept


def _aligned(prompts: Mapping[int, Sequence[tuple[Logits, Logits]]]) -> list[tuple[Logits, Logits]]:
    """The steps of all prompts together, (beams, V); a prompt that has ended has no beams: -inf."""
    ended = {prompt: np.full_like(steps[0][0], -np.inf) for prompt, steps in prompts.items()}

    def rows(at: int, part: int) -> Logits:
        return np.concatenate(
            [
                steps[at][part] if at < len(steps) else ended[prompt]
                for prompt, steps in sorted(prompts.items())
            ]
        )

    return [(rows(at, 0), rows(at, 1)) for at in range(max(map(len, prompts.values()), default=0))]
