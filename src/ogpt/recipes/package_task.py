"""A real task in every CPython: which package of the standard library a docstring comes from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ogpt.data import builtin
from ogpt.errors import DataError
from ogpt.evaluation.task_scores import TaskScore
from ogpt.folders.run_folder import RunFolder
from ogpt.reporting import Reporter
from ogpt.tasks.example import Example
from ogpt.tasks.task_data import TaskData
from ogpt.tasks.task_spec import TaskSpec
from ogpt.workflows.finetune import finetune

PACKAGES = (
    "asyncio",
    "email",
    "http",
    "importlib",
    "logging",
    "multiprocessing",
    "unittest",
    "xml",
)
"""In every CPython, with over 100 docstrings each in version 3.11."""
FEWEST_WORDS, MOST_WORDS = 5, 25
"""A docstring of fewer words is skipped; of a longer one the first words are used, so that an
example fits the context of a small model."""
_FIFTHS = {0: "test", 1: "valid"}

SETTINGS = (
    "finetune.epochs=6",
    "finetune.learning_rate=5e-4",
    "finetune.warmup_fraction=0.1",
)
"""The same for both models. The paper's learning rate is for a model of 117 M parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskComparison:
    """The task, and how well it is learned with and without pre-training."""

    labels: tuple[str, ...]
    examples: tuple[int, int, int]
    """Number of training, validation and test examples."""
    majority: float
    """Share of the most frequent class in the test set."""
    pretrained: TaskScore
    """Accuracy on the test set, with its 95 % interval."""
    random: TaskScore
    """The same of a model that starts from random weights."""

    @property
    def verdict(self) -> str:
        """A sentence that says whether pre-training helped."""
        (value, low, high), (other, *others) = self.pretrained, self.random
        if low > others[1]:
            judgement = "Pre-training helps"
        elif high < others[0]:
            judgement = "Pre-training hurts"
        else:
            judgement = "Whether pre-training helps is not clear, as the intervals overlap"
        return (
            f"{judgement}: fine-tuned to recognize the package of a docstring, the model is right "
            f"in {value:.1%} of the test examples, and in {other:.1%} without pre-training."
        )


def package_task(folder: Path) -> TaskData:
    """The task on the library in `folder`.

    Each docstring is one example in one split, which the hash of its text chooses: an object and
    its copies never are in two. One that contains the name of its package is left out, as the
    label could be read from it.

    Raises:
        SourceNotFound: see `builtin.library_files`.
        DataError: there are too few docstrings.
    """
    splits: dict[str, dict[str, Example]] = {"train": {}, "valid": {}, "test": {}}
    for docstring, file in builtin.docstrings(folder):
        package, *inside = PurePosixPath(file).parts
        words = docstring.split()[:MOST_WORDS]
        text = " ".join(words)
        if package not in PACKAGES or not inside or package in text.lower():
            continue
        if len(words) >= FEWEST_WORDS:
            fifth = hashlib.sha256(text.encode()).digest()[0] % 5
            examples = splits[_FIFTHS.get(fifth, "train")]
            examples.setdefault(text, Example((text,), package, file))
    labels = sorted({str(example.label) for example in splits["train"].values()})
    if len(labels) < 2 or not (splits["valid"] and splits["test"]):
        found = ", ".join(f"{len(examples)} {name}" for name, examples in splits.items())
        raise DataError(
            f"the library in {folder} gives {found} examples of {len(labels)} packages; needed: "
            "some of each, and 2 packages",
            hint="use a Python with its full standard library",
        )
    known = {name: _of(labels, examples) for name, examples in splits.items()}
    return TaskData(
        TaskSpec(family="classification", labels=tuple(labels), metrics=("accuracy", "macro_f1")),
        known["train"],
        {"valid": known["valid"]},
        {"test": known["test"]},
    )


def compare(model: Path, out: Path, reporter: Reporter) -> TaskComparison:
    """Fine-tune the model, and one like it with random weights, on the same examples.

    Args:
        model: The pre-trained model.
        out: Folder of the two runs; a stopped one resumes, a finished one is not repeated.
        reporter: Receives all events.
    """
    task = package_task(builtin.library_folder())

    def accuracy(folder: str, *overrides: str) -> TaskScore:
        result = finetune(
            model=model,
            out=out / folder,
            source=task,
            overrides=(*SETTINGS, *overrides),
            resume=RunFolder.is_run(out / folder),
            reporter=reporter,
        )
        return result.test["test"]["accuracy"]

    test = task.test["test"]
    return TaskComparison(
        labels=task.spec.labels,
        examples=(len(task.train), len(task.valid["valid"]), len(test)),
        majority=Counter(example.label for example in test).most_common(1)[0][1] / len(test),
        pretrained=accuracy("pretrained"),
        random=accuracy("random", "finetune.n_transfer=-1"),
    )


def _of(labels: Sequence[str], examples: dict[str, Example]) -> tuple[Example, ...]:
    return tuple(example for example in examples.values() if example.label in labels)
