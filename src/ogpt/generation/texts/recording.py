"""Scores and logits of every step, for output_scores and output_logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

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
