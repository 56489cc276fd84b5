"""Split text with a long run of one sign, on which spaCy takes quadratic time, in linear time.

spaCy strips one sign at a time and searches all that is left each time. Beyond a few signs from its
ends, a run splits periodically: the words of a shortened run, and of one a period longer, show what
each further period adds. If they do not, the text is split as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import groupby
from os.path import commonprefix
from typing import NamedTuple

LONG = 96
"""Signs from which a run is shortened."""
PERIOD = 12
"""Signs after which a run repeats itself: a multiple of 1 to 4, the lengths of spaCy's patterns."""
_KEPT = 4 * PERIOD
_MOST_RUNS = 8
"""More runs than this in one part are split as they are."""
_RUN = re.compile(rf"([^\w\s]|_)\1{{{LONG - 1},}}")


def split_long_runs(text: str, split: Callable[[str], list[str]]) -> list[str]:
    """Split text into words as `split` does, which must return all of its characters."""
    runs = list(_RUN.finditer(text))
    if not 0 < len(runs) <= _MOST_RUNS:
        return split(text)
    pieces = [text[: runs[0].start()]]  # text and shortened runs in turn
    removed = []
    for run, following in zip(runs, [*runs[1:], None], strict=True):
        removed.append((len(run[0]) - _KEPT) // PERIOD)
        pieces.append(run[1] * (len(run[0]) - removed[-1] * PERIOD))
        pieces.append(text[run.end() : following.start() if following else len(text)])
    short = _groups(split("".join(pieces)))
    words = [word for word, _ in short]
    counts = [count for _, count in short]
    for number in reversed(range(len(runs))):  # from the last, so that places before it stay
        place, sign, periods = 2 * number + 1, runs[number][1], removed[number]
        longer, longest = (
            _groups(split("".join([*pieces[:place], sign * more, *pieces[place:]])))
            for more in (PERIOD, 2 * PERIOD)
        )
        step, again = _step(short, longer, sign), _step(longer, longest, sign)
        if step is None or again is None or (step.word, step.more) != (again.word, again.more):
            return split(text)
        counts = [count + more * periods for count, more in zip(counts, step.more, strict=True)]
        if step.word is not None:
            word = words[step.word]
            words[step.word] = word[: step.at] + sign * (periods * PERIOD) + word[step.at :]
    return [word for word, count in zip(words, counts, strict=True) for _ in range(count)]


class _Step(NamedTuple):
    """What one more period of a run changes."""

    more: list[int]
    """By how much each group of equal words grows."""
    word: int | None
    """The group whose word itself grows."""
    at: int
    """Where it grows."""


def _groups(words: list[str]) -> list[tuple[str, int]]:
    """Equal words in a row, as one word and their number."""
    return [(word, len(list(equal))) for word, equal in groupby(words)]


def _step(short: list[tuple[str, int]], longer: list[tuple[str, int]], sign: str) -> _Step | None:
    """How `longer` comes from `short`; None if it is not by growing groups, or one word."""
    if len(short) != len(longer):
        return None
    more = [new - old for (_, old), (_, new) in zip(short, longer, strict=True)]
    changed = [
        i for i, (old, new) in enumerate(zip(short, longer, strict=True)) if old[0] != new[0]
    ]
    if not changed:
        return _Step(more, None, 0)
    old, new = short[changed[0]][0], longer[changed[0]][0]
    at = len(commonprefix([old, new]))  # noqa: RUF071  # of texts, not of paths
    if len(changed) > 1 or new != old[:at] + sign * PERIOD + old[at:]:
        return None
    return _Step(more, changed[0], at)
