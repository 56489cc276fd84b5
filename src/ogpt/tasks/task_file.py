"""The examples of one file or split for a model that is fine-tuned: of its data set, or others."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ogpt.errors import ConfigError
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.example import Example
from ogpt.tasks.finding import files_below, fits
from ogpt.tasks.open_task import open_split
from ogpt.tasks.published import Layout
from ogpt.tasks.readers.decoding_lines import Drops
from ogpt.tasks.task_data import notice_dropped
from ogpt.tasks.task_rows import read_examples
from ogpt.tasks.task_spec import TaskSpec


class TaskFile(NamedTuple):
    """Examples, and the split of the data set that they are."""

    examples: list[Example]
    split: str
    """Such as "test" or "valid/matched"; "" for rows that are no official file."""


def read_task_file(
    path: Path,
    spec: TaskSpec,
    split: str | None = None,
    default: str = "valid",
    *,
    labelled: bool = False,
) -> TaskFile:
    """Read examples for a fine-tuned model.

    Args:
        path: An official file of the model's data set under its usual name, such as RTE/dev.tsv; a
            folder that holds such files of one split alone, such as RACE/test/high; a folder with
            the data set anywhere below it; else rows as for fine-tuning, with the columns of the
            task.
        spec: The task of the model.
        split: Of the data set in a folder: train, valid or test, and where there are several of a
            kind, its name too, such as valid/matched.
        default: The split of a folder where none is given.
        labelled: Whether rows that are no official file must have a column of labels.

    Raises:
        ConfigError: a split that the data set does not have, or one of a file.
        SourceNotFound: the file, or the split in the folder, does not exist.
        DataError, DamagedData: rows that cannot be used.
    """
    drops: Drops = Drops()
    if spec.name in TASKS and path.exists() and split is None:
        files = files_below(path) if path.is_dir() else [path.absolute()]
        found = _layout_of(files, spec.name)
        if found is not None:
            layout, name = found
            examples = [example for file in files for example in layout.read(file, drops)]
            notice_dropped(drops, spec)
            return TaskFile(examples, name)
    if spec.name in TASKS and path.is_dir():
        split = split or default
        examples = list(open_split(spec.name, path, split, drops))
        notice_dropped(drops, spec)
        return TaskFile(examples, split)
    if split is not None:
        raise ConfigError(
            f"the split is {split!r} and the data is {path}; a split is allowed only for a folder "
            "with a data set of the paper that the model was fine-tuned on",
            hint="omit --split, or pass the folder",
        )
    rows = read_examples(path, spec.family, spec.columns, spec.problem, labelled=labelled)
    return TaskFile(rows[0], "")


def _layout_of(files: list[Path], task: str) -> tuple[Layout, str] | None:
    """The layout one of whose splits has all these files, and that split; None: there is none."""
    for layout in TASKS[task].layouts:
        for split, patterns in layout.files.items():
            if files and all(any(fits(file, each) for each in patterns) for file in files):
                return layout, split
    return None
