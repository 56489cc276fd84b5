"""Open one of the paper's data sets: find its files below a folder and read their examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ogpt.errors import ConfigError, DataError, SourceNotFound
from ogpt.notices import tell
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.example import Example
from ogpt.tasks.finding import archives, files_below, match
from ogpt.tasks.published import Layout, Release, Task, check_rows, split_name
from ogpt.tasks.readers.decoding_lines import Drops, decoded_lines
from ogpt.tasks.task_data import TaskData

HOLD_OUT_SEED = 3535999445
"""Of the split of Story Cloze in the 2018 code (datasets.py, rocstories)."""

Found = Mapping[str, list[Path]]
"""Split -> its files."""


def task_named(name: str) -> Task:
    """The row of the catalogue with this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in TASKS:
        raise ConfigError(
            f"the task is {name!r}; allowed: {', '.join(TASKS)}",
            hint="for your own data, pass --family and --train instead of --task",
        )
    return TASKS[name]


def open_task(
    name: str,
    folder: str | Path,
    needed: Sequence[str] = ("train", "valid"),
    *,
    others: bool = True,
) -> TaskData:
    """Read a data set of the paper from the files of its owner or of GLUE.

    Where the owner gives no validation set, a part of the training set is used: for MRPC the rows
    of GLUE's mrpc_dev_ids.tsv, if it is there; else chosen as in the 2018 code for Story Cloze
    (`validation-split`). Rows that differ in number from the published
    ones, another release than the paper's, and missing sets give notices.

    Args:
        name: Of the task in the catalogue.
        folder: Where the data sets were unpacked; the files may lie anywhere below it.
        needed: Kinds of splits that must be there: "train", "valid", "test".
        others: Whether to read the other splits too where they are there.

    Raises:
        ConfigError: the name of no task.
        SourceNotFound: the folder, the data set or a needed split is not there.
        DataError: a file is not in UTF-8, or its columns or the choices are not those of the set.
        DamagedData: a line is not JSON.
    """
    task = task_named(name)
    folder = Path(folder)
    layout, found = _found(task, folder, needed, others)
    drops: Drops = Counter()
    read = {split: _read(layout, files, drops) for split, files in found.items()}
    _check_choices(task, read)
    _check_release(task, layout, folder, read)
    if layout.hold_out and "train" in read:
        read["train"], read["valid"] = _divided(task, layout, folder, read["train"])
    return TaskData(
        task.spec(), read.get("train", ()), _of_kind("valid", read), _of_kind("test", read), drops
    )


def _divided(
    task: Task, layout: Layout, folder: Path, examples: Sequence[Example]
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Training and validation examples of a training set without a validation set."""
    listed = match(files_below(folder), (layout.valid_ids,)) if layout.valid_ids else []
    if listed:
        ids = {" ".join(line.split()) for line in decoded_lines(listed[0])}
        valid = tuple(one for one in examples if one.id in ids)
        check_rows(task.title, "valid", len(valid), layout.valid_ids, layout.hold_out)
        return tuple(one for one in examples if one.id not in ids), valid
    train, valid = held_out(examples, layout.hold_out, layout.releases[0].rows["train"])
    tell(
        "validation-split",
        task=task.title,
        count=len(valid),
        total=len(examples),
        seed=HOLD_OUT_SEED,
    )
    return train, valid


def held_out(
    examples: Sequence[Example], size: int, of: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Divide a training set without a validation set into both.

    The permutation is that of scikit-learn's `train_test_split`, which the 2018 code uses.

    Args:
        examples: All of the set.
        size: Validation examples of the whole set.
        of: Examples of the whole set; of a shortened one the same share is taken.

    Returns:
        Training and validation examples.
    """
    count = size if len(examples) == of else round(len(examples) * size / of)
    order = np.random.RandomState(HOLD_OUT_SEED).permutation(len(examples)).tolist()
    chosen = [examples[index] for index in order]
    return tuple(chosen[count:]), tuple(chosen[:count])


def _found(task: Task, folder: Path, needed: Sequence[str], others: bool) -> tuple[Layout, Found]:
    """The first layout with all files of the needed splits, and the files that are there."""
    files = files_below(folder)
    nearest: tuple[Layout, Found] | None = None
    for layout in task.layouts:
        matched = {split: match(files, patterns) for split, patterns in layout.files.items()}
        found: Found = {split: each for split, each in matched.items() if each}
        missing = _missing(layout, found)
        if not any(_kind(split) in needed for split in missing):
            if not others:
                return layout, {
                    split: each for split, each in found.items() if _kind(split) in needed
                }
            for split in missing:
                tell(
                    "split-missing",
                    task=task.title,
                    split=split,
                    files=", ".join(layout.files[split]),
                    folder=folder,
                )
            return layout, found
        if found and nearest is None:
            nearest = layout, found
    packed = archives(files)
    unpack = f" Archives must be unpacked first: {packed}" if packed else ""
    if nearest is not None:
        layout, there = nearest
        lost = [split for split in _missing(layout, there) if _kind(split) in needed]
        raise SourceNotFound(
            f"the {' and '.join(lost)} files of {task.title} are not in {folder}: "
            f"{_patterns(layout, lost)}",
            hint=f"get them from {task.owner} (terms: {task.licence}).{unpack}",
        )
    looked = "; or ".join(_patterns(layout, layout.files) for layout in task.layouts)
    raise SourceNotFound(
        f"{task.title} is not in {folder}: there is no {looked}",
        hint=f"get it from {task.owner} (terms: {task.licence}) and unpack it there.{unpack}",
    )


def _missing(layout: Layout, found: Found) -> list[str]:
    missing = [split for split in layout.files if split not in found]
    kinds = {_kind(split) for split in layout.files}
    # a part of the training files becomes the validation set
    return missing if "valid" in kinds or layout.hold_out else [*missing, "valid"]


def _read(layout: Layout, files: Iterable[Path], drops: Drops) -> tuple[Example, ...]:
    return tuple(example for file in files for example in layout.read(file, drops))


def _check_choices(task: Task, read: Mapping[str, tuple[Example, ...]]) -> None:
    for examples in read.values() if task.choices else ():
        for example in examples:
            if len(example.texts) != task.choices + 2:
                raise DataError(
                    f"{example.place} has {len(example.texts) - 2} answers; allowed for "
                    f"{task.title}: {task.choices}",
                    hint="download the data set again",
                )


def _check_release(
    task: Task, layout: Layout, folder: Path, read: Mapping[str, tuple[Example, ...]]
) -> None:
    """Find out by the numbers of rows which release this is, and give notice of what differs."""

    def fits(release: Release) -> int:
        return sum(
            len(read[split]) == rows for split, rows in release.rows.items() if split in read
        )

    release = max(layout.releases, key=fits)  # the first one of equals
    if not release.papers:
        tell("other-release", task=task.title, folder=folder, release=release.name)
    for split, rows in release.rows.items():
        if split in read:
            check_rows(task.title, split, len(read[split]), release.name, rows)


def _of_kind(kind: str, read: Mapping[str, tuple[Example, ...]]) -> dict[str, tuple[Example, ...]]:
    return {split_name(split): each for split, each in read.items() if _kind(split) == kind}


def _kind(split: str) -> str:
    return split.partition("/")[0]


def _patterns(layout: Layout, splits: Iterable[str]) -> str:
    return ", ".join(
        dict.fromkeys(pattern for split in splits for pattern in layout.files.get(split, ()))
    )
