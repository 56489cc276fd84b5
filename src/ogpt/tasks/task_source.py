"""Where the examples of a task are; the command line is built from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ogpt.config.described import Option, described, keep_fields, with_field_docs
from ogpt.config.ranges import FileName, OneOf, Texts
from ogpt.errors import ConfigError
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.example import FAMILIES, Family, Problem

_DATA = "Data"
"""Heading of these options in `--help`."""


@with_field_docs
@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSource:
    """A data set of the paper, or the files of a task and how to read them.

    Raises:
        ConfigError: a value outside its range.
    """

    task: str | None = described(
        None,
        f"Data set of the paper: {', '.join(TASKS)}.",
        OneOf((None, *TASKS)),
        "choose one of these, or pass --family and files",
        Option(panel=_DATA),
    )
    data: Path | None = described(
        None,
        "Folder with the files of --task, anywhere below it.",
        FileName(),
        "pass a folder",
        Option(panel=_DATA),
    )
    family: Family | None = described(
        None,
        f"Kind of task: {', '.join(FAMILIES)} (paper, figure 1).",
        OneOf((None, *FAMILIES)),
        "choose one of these",
        Option(panel=_DATA),
    )
    train: Path | None = described(
        None,
        "Training examples: .jsonl, .csv, .tsv or .parquet (also .gz, .zst).",
        FileName(),
        "pass a file",
        Option(panel=_DATA),
    )
    valid: Path | None = described(
        None,
        "Validation examples, which choose the best checkpoint.",
        FileName(),
        "pass a file",
        Option(panel=_DATA),
    )
    test: Path | None = described(
        None,
        "Test examples, scored once with the best checkpoint.",
        FileName(),
        "pass a file",
        Option(panel=_DATA),
    )
    columns: tuple[str, ...] = described(
        (),
        "Column of a text or of the label, such as label=gold; repeatable.",
        Texts(),
        "pass for example label=gold",
        Option("--column", panel=_DATA, metavar="ROLE=NAME"),
    )
    problem: Problem | None = described(
        None,
        f"What is predicted: {', '.join(get_args(Problem))}; by default as the labels look.",
        OneOf((None, *get_args(Problem))),
        "choose one of these",
        Option(panel=_DATA),
    )

    def __post_init__(self) -> None:
        if isinstance(self.family, str):  # also as Python names are written
            object.__setattr__(self, "family", self.family.replace("_", "-"))
        keep_fields(self, ConfigError)
