"""Layouts of published data sets, by the kind of their files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ogpt.tasks.published import Files, Layout, Release
from ogpt.tasks.readers.json_records import read_pairs
from ogpt.tasks.readers.quoted import read_story_cloze
from ogpt.tasks.readers.tabbed import read_tabbed


def tabbed(
    title: str,
    files: Files,
    texts: tuple[str, ...],
    *releases: Release,
    label: str = "label",
    labels: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    id: str = "index",
    score: bool = False,
    hold_out: int = 0,
    valid_ids: str = "",
) -> Layout:
    """A layout of tab-separated files; `labels` are the classes that the file writes as 0 and 1."""
    names = {str(number): name for number, name in enumerate(labels)} or None
    read = partial(
        read_tabbed, texts=texts, label=label, names=names, columns=columns, id=id, score=score
    )
    return Layout(
        title=title,
        files=files,
        columns=(*texts, label),
        read=read,
        releases=releases,
        hold_out=hold_out,
        valid_ids=valid_ids,
    )


def json_pairs(
    title: str, files: Files, release: Release, names: Mapping[str, str] | None = None
) -> Layout:
    """A layout of sentence pairs as JSON objects, one per line."""
    return Layout(
        title=title,
        files=files,
        columns=("sentence1", "sentence2", "gold_label"),
        read=partial(read_pairs, names=names),
        releases=(release,),
    )


def story_cloze(title: str, release: str, rows: int, hold_out: int, *, papers: bool) -> Layout:
    """A layout of the two files of one release of Story Cloze."""
    return Layout(
        title=title,
        files={
            "train": (f"cloze_test_val__{release}*.csv",),
            "test": (f"cloze_test_test__{release}*.csv",),
        },
        columns=("InputSentence1..4", "RandomFifthSentenceQuiz1..2", "AnswerRightEnding"),
        read=read_story_cloze,
        releases=(Release(title, {"train": rows, "test": rows}, papers),),
        hold_out=hold_out,
    )


def three_files(pattern: str) -> Files:
    """The files of training, validation and test set, with {} where their names differ."""
    files = {"train": "train", "valid": "dev", "test": "test"}
    return {split: (pattern.format(name),) for split, name in files.items()}


def multinli_files(train_dev: str, test: str) -> Files:
    """The five files of MultiNLI, with {} where their names differ."""
    files: dict[str, tuple[str, ...]] = {"train": (train_dev.format("train"),)}
    for name in ("matched", "mismatched"):
        files[f"valid/{name}"] = (train_dev.format(f"dev_{name}"),)
    for name in ("matched", "mismatched"):
        files[f"test/{name}"] = (test.format(name),)
    return files


def three_rows(name: str, train: int, valid: int, test: int, *, papers: bool = True) -> Release:
    """A release with a training, a validation and a test set."""
    return Release(name, {"train": train, "valid": valid, "test": test}, papers)


def race_files(split: str, *levels: str) -> tuple[str, ...]:
    """The files of RACE's levels."""
    return tuple(f"{split}/{level}/*.txt" for level in levels)
