"""The data of a task: its splits, read from the user's own files, and what is odd about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from ogpt.errors import ConfigError, DataError
from ogpt.notices import tell
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.example import Example, Family, Problem
from ogpt.tasks.labels import infer_labels, infer_problem, label_array
from ogpt.tasks.task_rows import read_examples
from ogpt.tasks.task_spec import TaskSpec

IMBALANCE = 10
"""The most frequent class is this many times as frequent as the rarest: that gives a notice."""

METRICS: dict[Problem, tuple[str, ...]] = {
    "single_label_classification": ("accuracy", "macro_f1"),
    "multi_label_classification": ("micro_f1", "macro_f1", "accuracy"),
    "regression": ("pearson", "spearman", "mse"),
}
"""Measures of the user's own data; the first one selects the best checkpoint. Multiple choice has
accuracy alone."""


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task with its examples."""

    spec: TaskSpec
    train: tuple[Example, ...]
    valid: Mapping[str, tuple[Example, ...]]
    """By name of the set; the first one selects the best checkpoint."""
    test: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)
    """By name; scored once, after the selection. Examples may have no labels. A validation
    set can be scored so too, for its interval."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that the reader left out."""


def own_data(
    family: Family,
    train: Path,
    valid: Path,
    test: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    problem: Problem | None = None,
) -> TaskData:
    """Read the user's own files.

    Args:
        family: How examples become sequences.
        train: Training examples; the labels are those that occur here.
        valid: Validation examples.
        test: Test examples.
        columns: Role -> name of its column; usual names are found.
        problem: What is predicted; None: as the labels look.

    Raises:
        DataError: rows that cannot be used.
        ConfigError: a problem that the family does not have.
    """
    if train == valid:
        raise ConfigError(
            f"--train and --valid are the same file, {train}",
            hint="hold out examples for validation: a model knows its training examples",
        )
    examples, found = read_examples(train, family, columns or {}, problem, labelled=True)
    unlabelled = next((one for one in examples if one.label is None), None)
    if unlabelled is not None:
        raise DataError(
            f"{unlabelled.place} has no label",
            hint="training examples need one; name the column: --column label=NAME",
        )
    kind = problem or infer_problem(examples, family)
    choices = family == "multiple-choice"  # their numbers are no classes, which have an F1
    if choices and kind != "single_label_classification":
        raise ConfigError(
            f"--problem is {kind!r}; allowed for multiple-choice: single_label_classification",
            hint="omit --problem",
        )
    spec = TaskSpec(
        family=family,
        problem=kind,
        labels=() if choices else infer_labels(examples, kind),
        columns=found,
        metrics=("accuracy",) if choices else METRICS[kind],
    )
    splits = {"valid": tuple(read_examples(valid, family, found, kind, labelled=True)[0])}
    tests = {"test": tuple(read_examples(test, family, found, kind)[0])} if test else {}
    return TaskData(spec, tuple(examples), splits, tests)


def title_after_of(spec: TaskSpec) -> str:
    """The title as it follows the name of a split in messages: " of RACE"; "" for own data."""
    return f" of {TASKS[spec.name].title}" if spec.name in TASKS else ""


def notice_dropped(dropped: Mapping[str, int], spec: TaskSpec) -> None:
    """Give the notice `rows-dropped` for each reason for which rows were left out."""
    for reason, count in dropped.items():
        tell("rows-dropped", count=count, of=title_after_of(spec), reason=reason)


def _check_enough(count: int, batch_size: int, spec: TaskSpec, *, skipped: bool = False) -> None:
    """Check that there are training examples for one batch.

    Args:
        count: Of the examples that are trained on.
        batch_size: Examples of a batch.
        spec: The task, for messages.
        skipped: Whether examples that are too long for the model were left out.

    Raises:
        DataError: there are fewer.
    """
    if count >= batch_size:
        return
    what = f"training examples{title_after_of(spec)}{' that fit the model' if skipped else ''}"
    lower = f"lower the batch: --set finetune.batch_size={max(1, count // 4)}"
    if skipped:
        lower += ", or cut longer ones: --on-too-long truncate"
    raise DataError(
        f"there are {count} {what}, fewer than a batch of {batch_size}",
        hint=lower if count else "check the training files: no row is left of them",
    )


def check_data(data: TaskData, batch_size: int) -> None:
    """Check the examples before training, and give notice of what is odd about them.

    Notices: `classes-imbalanced`, `rows-repeated`, `rows-leaked`, `rows-dropped`.

    Raises:
        DataError: fewer examples than a batch, one class alone, no validation labels, or a label
            of the validation set that the training set does not have.
    """
    spec = data.spec
    _check_enough(len(data.train), batch_size, spec)
    label_array(data.train, spec)
    for name, examples in data.valid.items():
        if not examples or label_array(examples, spec) is None:
            raise DataError(
                f"the validation set {name!r}{title_after_of(spec)} has no labels",
                hint="the best checkpoint is chosen by it: fill in the label column",
            )
    notice_dropped(data.dropped, spec)
    if spec.labels and spec.problem == "single_label_classification":
        counts = _classes(data.train, spec)
        (most, many), (least, few) = counts[0], counts[-1]
        if many >= IMBALANCE * few:
            tell("classes-imbalanced", most=most, many=many, least=least, few=few)
    _notice_repeats(data)


def check_kept(examples: Sequence[Example], batch_size: int, spec: TaskSpec) -> None:
    """Check the training examples that are left when those too long for the model were skipped.

    Raises:
        DataError: fewer examples than a batch, or one class alone.
    """
    _check_enough(len(examples), batch_size, spec, skipped=True)
    if spec.labels and spec.problem == "single_label_classification":
        _classes(examples, spec)


def _classes(examples: Sequence[Example], spec: TaskSpec) -> list[tuple[str, int]]:
    """The classes of training examples with their counts, the most frequent one first."""
    counts = Counter(str(example.label) for example in examples).most_common()
    if len(counts) == 1:
        [(label, count)] = counts
        raise DataError(
            f"all {count} training examples{title_after_of(spec)} have the label {label!r}; "
            "allowed: 2 classes or more",
            hint="one class alone cannot be learned: add examples of another class",
        )
    return counts


def _notice_repeats(data: TaskData) -> None:
    known = Counter(example.texts for example in data.train)
    of = title_after_of(data.spec)
    repeated = sum(count - 1 for count in known.values())
    if repeated:
        tell("rows-repeated", count=repeated, total=len(data.train), of=of)
    # A set of training or validation examples themselves is scored on purpose: it is no leak.
    own = {id(example) for examples in (data.train, *data.valid.values()) for example in examples}
    tests = {
        name: examples
        for name, examples in data.test.items()
        if not all(id(example) in own for example in examples)
    }
    for name, examples in {**data.valid, **tests}.items():
        _notice_leak(examples, known.keys(), f"{name}{of}", "training")
    selecting = {example.texts for examples in data.valid.values() for example in examples}
    for name, examples in tests.items():
        _notice_leak(examples, selecting, f"{name}{of}", "validation")


def _notice_leak(
    examples: Sequence[Example], known: AbstractSet[tuple[str, ...]], name: str, source: str
) -> None:
    leaked = sum(example.texts in known for example in examples)
    if leaked:
        tell("rows-leaked", count=leaked, total=len(examples), split=name, source=source)
