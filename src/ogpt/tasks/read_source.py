"""The examples that a source names: a data set of the paper, or the user's own files."""

from __future__ import annotations

from ogpt.errors import ConfigError
from ogpt.tasks.open_task import open_task
from ogpt.tasks.task_data import TaskData, own_data
from ogpt.tasks.task_rows import parse_columns
from ogpt.tasks.task_source import TaskSource


def read_source(source: TaskSource) -> TaskData:
    """Read the examples that a source names.

    Raises:
        ConfigError: a file or the family is missing, or a data set and files are both named.
        DataError: files that cannot be read.
    """
    if source.task is not None:
        own = ("family", "train", "valid", "test", "columns", "problem")
        both = [name for name in own if getattr(source, name)]
        if both or source.data is None:
            seen = f"--{both[0]} is given too" if both else "--data is missing"
            raise ConfigError(
                f"the task is {source.task} and {seen}; allowed: a task with the folder of its "
                "data sets, and nothing else",
                hint=f"pass --task {source.task} --data FOLDER, or --family and files without it",
            )
        return open_task(source.task, source.data)
    if source.data is not None:
        raise ConfigError(
            f"--data is {source.data}, and there is no --task to find in it",
            hint="pass --task with it; your own files need --family, --train and --valid",
        )
    if source.family is None or source.train is None or source.valid is None:
        raise ConfigError(
            "the data is incomplete: a fine-tuning needs a family, and files to train on and to "
            "validate with",
            hint="pass for example --family classification --train train.jsonl --valid valid.jsonl "
            "or --task rte --data FOLDER",
        )
    return own_data(
        source.family,
        source.train,
        source.valid,
        source.test,
        columns=parse_columns(source.family, source.columns),
        problem=source.problem,
    )
