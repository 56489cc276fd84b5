"""Redistributable stand-ins for the paper's data sets, where they lie beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogpt.tasks.example import Family
from ogpt.tasks.labels import infer_problem, label_array
from ogpt.tasks.task_data import own_data

TASKS = Path(__file__).parents[2].parent / "shared" / "data" / "tasks"

SETS: list[tuple[str, str, str, Family, int, tuple[str, ...]]] = [
    (
        "classification/sentence_polarity",
        "train",
        "valid",
        "classification",
        8530,
        ("negative", "positive"),
    ),
    (
        "entailment/snli_cad",
        "train",
        "dev",
        "entailment",
        8330,
        ("contradiction", "entailment", "neutral"),
    ),
    ("similarity/stsb_captions", "train", "dev", "similarity", 1000, ()),
    ("multiple_choice/arc_easy", "train", "dev", "multiple-choice", 2147, ()),
    ("multiple_choice/copa_balanced", "train", "valid", "multiple-choice", 800, ()),
]


@pytest.mark.skipif(not TASKS.is_dir(), reason="the data is not beside the repository")
@pytest.mark.parametrize(("name", "train", "valid", "family", "count", "labels"), SETS)
def test_real_rows_need_no_column_names(
    name: str, train: str, valid: str, family: Family, count: int, labels: tuple[str, ...]
) -> None:
    data = own_data(family, TASKS / f"{name}_{train}.jsonl.gz", TASKS / f"{name}_{valid}.jsonl.gz")
    assert (len(data.train), data.spec.labels) == (count, labels)
    assert data.spec.problem == infer_problem(data.train, family)
    assert label_array(data.train, data.spec) is not None
    assert label_array(data.valid["valid"], data.spec) is not None
