"""One file of examples for a model that is fine-tuned: of its data set, or the user's own."""

from __future__ import annotations

from pathlib import Path

from ogpt.notices import tell
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.example import Example
from ogpt.tasks.finding import files_below, fits
from ogpt.tasks.published import Layout
from ogpt.tasks.readers.decoding_lines import Drops
from ogpt.tasks.task_rows import read_examples
from ogpt.tasks.task_spec import TaskSpec


def read_task_file(path: Path, spec: TaskSpec) -> list[Example]:
    """Read examples for a fine-tuned model.

    Args:
        path: An official file of the model's data set under its usual name, such as RTE/dev.tsv, or
            a folder that holds such files alone, such as RACE/test/high; else rows as for
            fine-tuning, with the columns of the task.
        spec: The task of the model.

    Raises:
        SourceNotFound: the file does not exist.
        DataError, DamagedData: rows that cannot be used.
    """
    if spec.name in TASKS and path.exists():
        files = files_below(path) if path.is_dir() else [path.absolute()]
        layout = _layout_of(files, spec.name)
        if layout is not None:
            drops: Drops = Drops()
            examples = [example for file in files for example in layout.read(file, drops)]
            for reason, count in drops.items():
                tell("rows-dropped", count=count, reason=reason)
            return examples
    return read_examples(path, spec.family, spec.columns, spec.problem)[0]


def _layout_of(files: list[Path], task: str) -> Layout | None:
    """The layout one of whose splits has all these files; None: there is none."""
    for layout in TASKS[task].layouts:
        for patterns in layout.files.values():
            if files and all(any(fits(file, each) for each in patterns) for file in files):
                return layout
    return None
