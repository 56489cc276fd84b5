"""What is known of a published data set: files, releases, labels, terms, the paper's scores.

A split is named by its kind and, where there are several of a kind, its own name: "train",
"valid/matched", "test/high".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NotRequired, TypedDict

from ogpt.notices import tell
from ogpt.tasks.example import Family, Problem
from ogpt.tasks.readers.decoding_lines import Reader
from ogpt.tasks.task_spec import TaskSpec

Files = Mapping[str, tuple[str, ...]]
"""Split -> its files, as endings of their paths; "*" stands for any characters."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release of a data set, which its numbers of rows identify."""

    name: str
    rows: Mapping[str, int]
    """Examples by split, without those that the reader leaves out."""
    papers: bool = True
    """Whether scores on it compare with the paper's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way in which the files of a data set are published.

    Args:
        title: Who publishes it so, for messages and the documentation.
        files: Its files.
        columns: Names or numbers of the columns that are read: the texts, then the label.
        read: Reads one file.
        releases: Of this layout; the first one is assumed where the rows fit none.
        hold_out: Training rows to use for validation where the owner gives no validation set.
        valid_ids: File with the ids of these rows, if it is there.
    """

    title: str
    files: Files
    columns: tuple[str, ...]
    read: Reader
    releases: tuple[Release, ...]
    hold_out: int = 0
    valid_ids: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A data set of the paper.

    Args:
        name: For --task.
        title: As in the paper.
        family: How its examples become sequences.
        labels: Classes in the order of their ids.
        metrics: The first one is the paper's.
        owner: Page of its owner.
        licence: Its terms, as its owner states them.
        paper: Test set ("test" if there is only one) -> the paper's score in percent (tables 2 to
            4).
        layouts: Ways in which it is published, the preferred one first.
        problem: What is predicted.
        positive: The class that F1 is meant for.
        choices: Number of answers of each question.
        submissions: Test set -> file of a submission to the GLUE server.
        submits: What the server reads: the names of classes, their ids, or scores.
    """

    name: str
    title: str
    family: Family
    labels: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    owner: str
    licence: str
    paper: Mapping[str, float]
    layouts: tuple[Layout, ...]
    problem: Problem = "single_label_classification"
    positive: str = ""
    choices: int = 0
    submissions: Mapping[str, str] = field(default_factory=dict)
    submits: Literal["name", "id", "score"] = "name"

    def spec(self) -> TaskSpec:
        """What a model that is fine-tuned on it does."""
        return TaskSpec(
            family=self.family,
            problem=self.problem,
            labels=self.labels,
            metrics=self.metrics,
            name=self.name,
            positive=self.positive,
        )


class Facts(TypedDict):
    """The fields of a Task without its layouts."""

    name: str
    title: str
    family: Family
    labels: NotRequired[tuple[str, ...]]
    metrics: NotRequired[tuple[str, ...]]
    owner: str
    licence: str
    paper: Mapping[str, float]
    problem: NotRequired[Problem]
    positive: NotRequired[str]
    choices: NotRequired[int]
    submissions: NotRequired[Mapping[str, str]]
    submits: NotRequired[Literal["name", "id", "score"]]


def split_name(split: str) -> str:
    """The name of a split among those of its kind: "matched" of "valid/matched"."""
    return split.rpartition("/")[2]


def check_rows(title: str, split: str, rows: int, release: str, published: int) -> None:
    """Give the notice `rows-differ` where a split has another number of rows than is published.

    Args:
        title: Of the data set.
        split: Its name.
        rows: Rows of the file.
        release: What the published number is of.
        published: Rows of the release.
    """
    if rows != published:
        tell(
            "rows-differ",
            task=title,
            split=split,
            rows=rows,
            release=release,
            published=published,
        )
