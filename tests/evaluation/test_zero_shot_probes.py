"""The probes of a model: texts as ids that fit its context, and scores of each set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ogpt.errors import DataError
from ogpt.evaluation.zero_shot import Candidate
from ogpt.evaluation.zero_shot_probes import ZeroShotProbes
from ogpt.evaluation.zero_shot_sets import ZeroShotRow, open_zero_shot_sets
from ogpt.generation.protocol.likelihood import Choices
from ogpt.notices import collecting
from tests.evaluation.probe_files import ROWS, write_probes
from tests.tasks.small import tokenizer

WORDS = tokenizer()


def row(gold: int, *candidates: tuple[str, str]) -> ZeroShotRow:
    return ZeroShotRow([Candidate(*each) for each in candidates], gold, "dev.tsv:3")


class Recording:
    """Scores a token by its id, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Choices] = []

    def __call__(self, parts: Sequence[Choices]) -> list[list[NDArray[np.float32]]]:
        self.asked += parts
        return [[-np.array(ids, dtype=np.float32) for ids in part.ids] for part in parts]


def ids(text: str) -> list[int]:
    return WORDS.encode(text)


def test_candidates_of_one_context_are_asked_together() -> None:
    rows = [row(0, ("a good", "film"), ("a good", "end")), row(0, ("a bad", "end"), ("bad", "end"))]
    score = Recording()
    ZeroShotProbes({"sst2": rows}, WORDS, 32).measure(score)
    assert score.asked == [
        Choices(ids("a good"), [ids("film"), ids("end")]),
        Choices(ids("a bad"), [ids("end")]),
        Choices(ids("bad"), [ids("end")]),
    ]


def test_the_first_token_of_a_text_alone_is_its_context() -> None:
    score = Recording()
    rows = [row(1, ("", "a good film")), row(0, ("", "bad end"))]
    ZeroShotProbes({"cola": rows}, WORDS, 32).measure(score)
    assert score.asked == [
        Choices(text[:1], [text[1:]]) for text in (ids("a good film"), ids("bad end"))
    ]


def test_means_are_compared_not_sums() -> None:
    long, short = "bad bad bad", "good"
    [bad], [good] = ids("bad"), ids("good")
    lower, higher = (long, short) if bad < good else (short, long)
    rows = [row(0, ("a", lower), ("a", higher)), row(0, ("a", higher), ("a", lower))]
    with collecting():
        [found] = ZeroShotProbes({"race": rows}, WORDS, 32).measure(Recording())
    assert bad != good
    assert found.value == 0.5  # the lower id is the more probable one, wherever it stands
    assert found.normalized == pytest.approx((0.5 - 0.25) / (0.504 - 0.25))
    assert (found.name, found.metric, found.rows) == ("race", "accuracy", 2)
    assert (found.low, found.high) == (0.0, 1.0)


def test_matthews_of_acceptability() -> None:
    low, high = sorted(["bad", "film"], key=lambda word: ids(word)[0])
    # the higher id is the less probable one
    rows = [row(int(n % 4 < 2), ("", f"a {low if n % 4 < 2 else high}")) for n in range(8)]
    [found] = ZeroShotProbes({"cola": rows}, WORDS, 32).measure(Recording())
    assert (found.metric, found.value) == ("matthews", 1.0)
    assert np.isnan([found.low, found.high]).all()  # all resamples are equal: no interval
    assert found.normalized == pytest.approx(1 / 0.35)


@pytest.mark.parametrize(
    ("n_positions", "context", "choices"),
    [
        (9, 5, [3, 3]),  # 5 + 2 + 2: together
        (8, 4, [3, 3]),
        (5, 1, [3, 3]),
        (4, 2, [3, 3]),  # 2 + 2: each alone
        (2, 1, [2, 2]),
        (1, 1, [1, 1]),
    ],
)
def test_long_texts_are_cut_with_a_notice(
    n_positions: int, context: int, choices: list[int]
) -> None:
    before, first, second = "a bad film a bad", "good bad end", "bad bad film"
    assert [len(ids(text)) for text in (before, first, second)] == [5, 3, 3]
    score = Recording()
    rows = [row(0, (before, first), (before, second)), row(0, ("a", "a"), ("a", "bad"))]
    with collecting() as notices:
        ZeroShotProbes({"race": rows}, WORDS, n_positions).measure(score)
    asked = score.asked[0]
    assert asked.context == ids(before)[-context:]
    assert asked.ids == [
        ids(text)[:kept] for text, kept in zip((first, second), choices, strict=True)
    ]
    lost = 11 - context - sum(choices)
    messages = [notice.message for notice in notices]
    assert messages == (
        [f"1 of 2 examples of RACE are too long for the model: {lost} tokens are cut"]
        if lost
        else []
    )


@pytest.mark.parametrize("candidate", [("a", ""), ("a", " "), ("", "a"), (" ", "a")])
def test_nothing_to_score(candidate: tuple[str, str]) -> None:
    with pytest.raises(DataError, match=r"dev\.tsv:3: .*allowed: 1 or more") as caught:
        ZeroShotProbes({"sst2": [row(0, candidate)]}, WORDS, 32)
    assert caught.value.hint == "remove the row"


def test_unknown_text_is_reported() -> None:
    rows = [row(0, ("a", "\u4e2d"), ("a", "bad"))] * 2
    with collecting() as notices:
        ZeroShotProbes({"sst2": rows}, WORDS, 32)
    assert [notice.kind for notice in notices] == ["text-unknown"]
    assert "the texts of SST-2" in notices[0].message


def test_all_sets_are_measured_with_progress(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    with collecting():
        sets = open_zero_shot_sets(write_probes(tmp_path))
        probes = ZeroShotProbes(sets, WORDS, 64)
    found = probes.measure(Recording(), lambda kind, **fields: events.append(fields))
    assert [each.name for each in found] == list(sets)
    assert all(each.low <= each.value <= each.high for each in found)
    assert events[-1] == {
        "task": "zero-shot probes",
        "done": 5 * ROWS,
        "total": 5 * ROWS,
        "unit": "rows",
    }


def test_a_space_matters_to_bytes_alone() -> None:
    for kind in ("bert", "openai", "hf-spacy"):
        words = tokenizer(kind)  # type: ignore[arg-type]
        assert words.encode(" bad") == words.encode("bad")
    assert tokenizer("bytes").encode(" bad") != tokenizer("bytes").encode("bad")


def test_the_time_of_a_measurement_is_estimated_from_a_few_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0

    def score(parts: Sequence[Choices]) -> list[list[NDArray[np.float32]]]:
        nonlocal now
        now += sum(len(part.context) + sum(map(len, part.ids)) for part in parts)
        return Recording()(parts)

    monkeypatch.setattr("time.perf_counter", lambda: now)
    rows = [row(0, ("a good", "film"), ("a good", "bad" + " end" * (n % 3))) for n in range(60)]
    probes = ZeroShotProbes({"sst2": rows, "dprd": rows[:2]}, WORDS, 32)
    found = probes.seconds(score)
    spent, now = now, 0.0
    probes.measure(score)
    assert found == pytest.approx(now)
    assert spent < now / 2
