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
Examples = tuple[Example, ...]


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
) -> TaskData:
    """Read a data set of the paper from the files of its owner or of GLUE.

    Where the owner gives no validation set, a part of the training set is used: for MRPC the rows
    of GLUE's mrpc_dev_ids.tsv, if it is there; else chosen as in the 2018 code for Story Cloze
    (`validation-split`). Rows that differ in number from the published
    ones, another release than the paper's, and missing sets give notices.

    Args:
        name: Of the task in the catalogue.
        folder: Where the data sets were unpacked; the files may lie anywhere below it.
        needed: Kinds of splits that must be there: "train", "valid", "test"; others are read where
            they are there.

    Raises:
        ConfigError: the name of no task.
        SourceNotFound: the folder, the data set or a needed split is not there.
        DataError: a file is not in UTF-8, or its columns or the choices are not those of the set.
        DamagedData: a line is not JSON.
    """
    task = task_named(name)
    folder = Path(folder)
    layout, found = _found(task, folder, needed)
    for split in _missing(layout, found):
        tell(
            "split-missing",
            task=task.title,
            split=split,
            files=", ".join(layout.files[split]),
            folder=folder,
        )
    drops: Drops = Counter()
    read = _read(task, layout, folder, found, drops)
    return TaskData(
        task.spec(), read.get("train", ()), _of_kind("valid", read), _of_kind("test", read), drops
    )


def open_split(name: str, folder: str | Path, split: str, drops: Drops) -> Examples:
    """Read one split of a data set of the paper: of the other splits neither files nor notices.

    A validation set that is a part of the training set needs that one.

    Args:
        name: Of the task in the catalogue.
        folder: Where the data sets were unpacked; the files may lie anywhere below it.
        split: train, valid or test, and where there are several of a kind, its name too, such as
            valid/matched.
        drops: Counts the rows that the reader leaves out.

    Raises:
        ConfigError: the name of no task, or of no split of it.
        SourceNotFound: the folder, the data set or the split is not there.
        DataError, DamagedData: as in open_task.
    """
    task = task_named(name)
    folder = Path(folder)
    layout, found = _found(task, folder, [split])
    held = ["valid"] if layout.hold_out and "train" in found else []
    names = [*found, *held]
    if split not in names:
        raise ConfigError(
            f"the split is {split!r}; allowed for {task.title} in {folder}: {', '.join(names)}",
            hint=f"pass for example --split {names[-1]}",
        )
    wanted = {each: found[each] for each in _wanted(layout, found, [split])}
    return _read(task, layout, folder, wanted, drops)[split]


def _read(
    task: Task, layout: Layout, folder: Path, found: Found, drops: Drops
) -> dict[str, Examples]:
    """The examples of files, by split."""
    read: dict[str, Examples] = {
        split: tuple(example for file in files for example in layout.read(file, drops))
        for split, files in found.items()
    }
    _check_choices(task, read)
    _check_release(task, layout, folder, read)
    if layout.hold_out and "train" in read:
        read["train"], read["valid"] = _divided(task, layout, folder, read["train"])
    return read


def _divided(
    task: Task, layout: Layout, folder: Path, examples: Sequence[Example]
) -> tuple[Examples, Examples]:
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


def held_out(examples: Sequence[Example], size: int, of: int) -> tuple[Examples, Examples]:
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


def _found(task: Task, folder: Path, needed: Sequence[str]) -> tuple[Layout, Found]:
    """The first layout with all files of the needed splits, and the files that are there.

    Args:
        task: The data set.
        folder: Where to look.
        needed: Splits, or kinds of splits.
    """
    files = files_below(folder)
    nearest: tuple[Layout, Found] | None = None
    for layout in task.layouts:
        matched = {split: match(files, patterns) for split, patterns in layout.files.items()}
        found: Found = {split: each for split, each in matched.items() if each}
        missing = _missing(layout, found)
        if found and not _wanted(layout, missing, needed):
            return layout, found
        if found and nearest is None:
            nearest = layout, found
    packed = archives(files)
    unpack = f" Archives must be unpacked first: {packed}" if packed else ""
    if nearest is not None:
        layout, there = nearest
        lost = _wanted(layout, _missing(layout, there), needed)
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


def _wanted(layout: Layout, splits: Iterable[str], needed: Sequence[str]) -> list[str]:
    """The splits that are needed, by name or kind, and the training set if a part of it is."""
    parts = ["train"] if layout.hold_out and "valid" in needed else []
    names = [*needed, *parts]
    return [split for split in splits if split in names or _kind(split) in names]


def _missing(layout: Layout, found: Found) -> list[str]:
    missing = [split for split in layout.files if split not in found]
    kinds = {_kind(split) for split in layout.files}
    # a part of the training files becomes the validation set
    return missing if "valid" in kinds or layout.hold_out else [*missing, "valid"]


def _check_choices(task: Task, read: Mapping[str, Examples]) -> None:
    for examples in read.values() if task.choices else ():
        for example in examples:
            if len(example.texts) != task.choices + 2:
                raise DataError(
                    f"{example.place} has {len(example.texts) - 2} answers; allowed for "
                    f"{task.title}: {task.choices}",
                    hint="download the data set again",
                )


def _check_release(task: Task, layout: Layout, folder: Path, read: Mapping[str, Examples]) -> None:
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


def _of_kind(kind: str, read: Mapping[str, Examples]) -> dict[str, Examples]:
    return {split_name(split): each for split, each in read.items() if _kind(split) == kind}


def _kind(split: str) -> str:
    return split.partition("/")[0]


def _patterns(layout: Layout, splits: Iterable[str]) -> str:
    return ", ".join(
        dict.fromkeys(pattern for split in splits for pattern in layout.files.get(split, ()))
    )
