"""The zero-shot probes of a model: its sets are tokenized once, and measured at any time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.data.unknown import notice_unknown_ids
from ogpt.errors import DataError
from ogpt.evaluation import bootstrap
from ogpt.evaluation.zero_shot import Candidate, acceptable, most_probable, normalized
from ogpt.evaluation.zero_shot_sets import ZERO_SHOT_SETS, ZeroShotRow
from ogpt.generation.protocol.likelihood import Choices, Scorer
from ogpt.notices import tell
from ogpt.reporting import Progress, Reporter, silent
from ogpt.tokens.bpe_tokenizer import BPETokenizer

_BLOCK = 64
"""Rows that are scored in one call, between two reports of progress."""
_TIMED = 16
"""Rows of a set that are scored to estimate the time of all, or up to twice as many."""
_METRICS: Mapping[str, bootstrap.Counted] = {
    "accuracy": bootstrap.accuracy,
    "matthews": bootstrap.matthews,
}


@dataclass(frozen=True, slots=True)
class ProbeScore:
    """How well a model does on one set, without fine-tuning."""

    name: str
    metric: str
    value: float
    low: float
    """Lower end of the 95 % bootstrap interval over the rows."""
    high: float
    normalized: float
    """0 at chance, 1 at the best single model that was known to the paper (figure 2)."""
    rows: int


class _Encoded(NamedTuple):
    """A row as token ids: candidates with a common context are one of the Choices."""

    choices: list[Choices]
    gold: int


class ZeroShotProbes:
    """The probes of one model: their texts as token ids.

    A context that is too long loses its beginning, and a candidate its end, with a notice
    (`examples-cut`). Candidates with a common context fit the context length together where they
    can, so that a model computes that context once.

    Args:
        sets: The rows of each set, as `open_zero_shot_sets` returns them.
        tokenizer: Of the model.
        n_positions: Context length of the model.

    Raises:
        DataError: a candidate without a token to score.
    """

    def __init__(
        self, sets: Mapping[str, Sequence[ZeroShotRow]], tokenizer: BPETokenizer, n_positions: int
    ) -> None:
        self._sets: dict[str, list[_Encoded]] = {}
        for name, rows in sets.items():
            whole = [_tokenized(tokenizer, row) for row in rows]
            title = ZERO_SHOT_SETS[name].title
            ids = [each for row in whole for part in row for each in (part.context, *part.ids)]
            notice_unknown_ids(tokenizer, ids, f"the texts of {title}")
            fitted = [[_fitted(part, n_positions) for part in row] for row in whole]
            lost = [
                _tokens(before) - _tokens(now) for before, now in zip(whole, fitted, strict=True)
            ]
            if any(lost):
                tell(
                    "examples-cut",
                    count=sum(map(bool, lost)),
                    total=len(rows),
                    what=title,
                    tokens=sum(lost),
                )
            pairs = zip(fitted, rows, strict=True)
            self._sets[name] = [_Encoded(choices, row.gold) for choices, row in pairs]

    def measure(self, score: Scorer, reporter: Reporter = silent) -> list[ProbeScore]:
        """Score the model on each set.

        Args:
            score: Scores token ids with the model.
            reporter: Receives progress events.

        Raises:
            DecoderError: a log-probability that is not finite.
        """
        total = sum(map(len, self._sets.values()))
        progress = Progress(reporter, "zero-shot probes", total, "rows")
        done = 0
        found = []
        for name, rows in self._sets.items():
            means: list[list[float]] = []
            for start in range(0, len(rows), _BLOCK):
                block = rows[start : start + _BLOCK]
                means += _means(score, block)
                done += len(block)
                progress(done)
            gold = np.array([row.gold for row in rows])
            found.append(_score(name, np.array(means, dtype=np.float64), gold))
        return found

    def seconds(self, score: Scorer) -> float:
        """Estimate the wall time of one `measure`, from a few rows of each set.

        Args:
            score: As in `measure`.
        """
        found = 0.0
        for rows in self._sets.values():
            some = rows[:: max(1, len(rows) // _TIMED)]
            _means(score, some[:1])  # touches all memory once
            begin = time.perf_counter()
            _means(score, some)
            share = sum(map(_work, rows)) / sum(map(_work, some))
            found += share * (time.perf_counter() - begin)
        return found


def _work(row: _Encoded) -> int:
    """Tokens of a row."""
    return _tokens(row.choices)


def _means(score: Scorer, rows: Sequence[_Encoded]) -> list[list[float]]:
    """Mean log-probability per token of each candidate of each row."""
    scored = iter(score([choices for row in rows for choices in row.choices]))
    return [
        [float(each.mean(dtype=np.float64)) for _ in row.choices for each in next(scored)]
        for row in rows
    ]


def _score(name: str, means: NDArray[np.float64], gold: NDArray[np.int64]) -> ProbeScore:
    """The score of a set from its means (N, K)."""
    known = ZERO_SHOT_SETS[name]
    predicted = acceptable(means[:, 0], gold) if means.shape[1] == 1 else most_probable(means)
    metric = _METRICS[known.metric]
    pairs = bootstrap.distinct(gold, predicted)
    value = float(metric(pairs.times[None].astype(np.float64), pairs.gold, pairs.found)[0])
    low, high = bootstrap.interval(metric, pairs)
    scale = normalized(value, known.chance, known.best)
    return ProbeScore(name, known.metric, value, low, high, scale, len(gold))


def _tokenized(tokenizer: BPETokenizer, row: ZeroShotRow) -> list[Choices]:
    """The candidates of a row as ids; neighbours with the same context are one of the Choices."""
    found: list[Choices] = []
    last: Candidate | None = None
    for candidate in row.candidates:
        ids = tokenizer.encode(candidate.text, add_special_tokens=False)
        context = ids[:1]  # of a text without context, the first token is the context
        if candidate.context:
            context = tokenizer.encode(candidate.context, add_special_tokens=False)
        else:
            ids = ids[1:]
        if not ids or not context:
            raise DataError(
                f"{row.place}: {candidate.text.strip()!r} after {candidate.context[-40:]!r} has "
                f"{len(context)} tokens of context and {len(ids)} to score; allowed: 1 or more",
                hint="remove the row",
            )
        if found and last is not None and last.context == candidate.context:
            found[-1].ids.append(ids)
        else:
            found.append(Choices(context, [ids]))
        last = candidate
    return found


def _fitted(part: Choices, n_positions: int) -> Choices:
    """Choices that fit the context length: the last token of each is only predicted."""
    choices = [ids[:n_positions] for ids in part.ids]
    inputs = [len(ids) - 1 for ids in choices]
    room = n_positions - (sum(inputs) if sum(inputs) < n_positions else max(inputs))
    return Choices(part.context[-room:], choices)


def _tokens(parts: Sequence[Choices]) -> int:
    return sum(len(part.context) + sum(map(len, part.ids)) for part in parts)
