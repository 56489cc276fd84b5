"""The task of the demo: which package a docstring comes from."""

from pathlib import Path

import pytest

from ogpt.data import builtin
from ogpt.errors import DataError
from ogpt.evaluation.task_scores import TaskScore
from ogpt.recipes.package_task import MOST_WORDS, PACKAGES, TaskComparison, package_task
from tests.recipes.conftest import write_library


def test_this_python_has_the_task() -> None:
    task = package_task(builtin.library_folder())
    splits = [task.train, task.valid["valid"], task.test["test"]]
    assert task.spec.labels == PACKAGES
    assert all(len(split) > least for split, least in zip(splits, (500, 100, 100), strict=True))
    texts = [example.texts[0] for split in splits for example in split]
    assert len(set(texts)) == len(texts)  # none twice, within a split or across
    for split in splits:
        assert {example.label for example in split} == set(PACKAGES)
        for example in split:
            assert str(example.label) not in example.texts[0].lower()
            assert 5 <= len(example.texts[0].split()) <= MOST_WORDS


def test_the_same_library_gives_the_same_splits(tmp_path: Path) -> None:
    write_library(tmp_path / "library")
    assert package_task(tmp_path / "library") == package_task(tmp_path / "library")


def test_a_library_without_the_packages_is_named(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('"""A module outside of all packages there are."""', "utf-8")
    with pytest.raises(DataError, match="gives 0 train, 0 valid, 0 test examples of 0") as caught:
        package_task(tmp_path)
    assert caught.value.hint == "use a Python with its full standard library"


@pytest.mark.parametrize(
    ("pretrained", "random", "judgement"),
    [
        ((0.8, 0.75, 0.85), (0.6, 0.55, 0.65), "Pre-training helps: "),
        ((0.6, 0.55, 0.65), (0.8, 0.75, 0.85), "Pre-training hurts: "),
        ((0.8, 0.7, 0.9), (0.75, 0.7, 0.8), "Whether pre-training helps is not clear, "),
    ],
)
def test_verdicts(pretrained: tuple[float, ...], random: tuple[float, ...], judgement: str) -> None:
    compared = TaskComparison(
        labels=("a", "b"),
        examples=(8, 1, 1),
        majority=0.5,
        pretrained=TaskScore(*pretrained),
        random=TaskScore(*random),
    )
    assert compared.verdict.startswith(judgement)
    assert f"{pretrained[0]:.1%}" in compared.verdict
    assert f"{random[0]:.1%}" in compared.verdict
