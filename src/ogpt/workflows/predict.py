"""`ogpt predict`: the labels of examples by a fine-tuned model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ogpt.errors import ConfigError, DataError
from ogpt.evaluation.task_predictions import Prediction, task_predictions
from ogpt.folders.model_folder import ModelFolder
from ogpt.reading import parse_json, stdin_lines
from ogpt.reporting import Reporter, silent
from ogpt.storage import path_of, whole_file
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.encoded_examples import OnTooLong, check_some_kept
from ogpt.tasks.example import Example
from ogpt.tasks.published import split_name
from ogpt.tasks.task_file import read_task_file
from ogpt.tasks.task_rows import example_of
from ogpt.tasks.task_spec import TaskSpec, task_of
from ogpt.workflows.training_backend import check_backend

STDIN = "-"
GLUE_HEADER = "index\tprediction\n"
ROCSTORIES = "ROCStories.tsv"
"""File of the 2018 code's predictions (train.py, rocstories)."""
Format = Literal["jsonl", "glue", "storycloze", "rocstories"]


class _Read(NamedTuple):
    """Examples, in the batches that they arrive in, and the split of the data set that they are."""

    batches: Iterator[Sequence[Example]]
    split: str


def predict(
    model: str | Path | ModelFolder,
    data: str | Path | Sequence[str | Mapping[str, Any]],
    *,
    split: str | None = None,
    out: str | Path | None = None,
    format: Format = "jsonl",
    on_too_long: OnTooLong = "truncate",
    threads: int = 0,
    on_prediction: Callable[[Prediction], None] | None = None,
    reporter: Reporter = silent,
) -> list[Prediction]:
    """Predict the labels of examples.

    Args:
        model: A model folder or run that `ogpt finetune` wrote.
        data: File of examples as for fine-tuning, or an official file of the data set that the
            model was fine-tuned on, or a folder with that data set; `-` for JSON Lines on standard
            input, or lines of text for classification, which are predicted as they arrive; or the
            examples themselves: mappings of columns, or texts.
        split: Of the data set in a folder, such as test (if None) or test/matched.
        out: File to write; None: none. With `glue` or `rocstories` and a test set, it may be a
            folder that exists: the file then has the name of the submission, such as MNLI-mm.tsv.
        format: Of `out`: jsonl; glue (index and prediction, as GLUE's server takes them);
            storycloze (story and right ending); or rocstories (index and ending, 0 or 1: the file
            of the 2018 code).
        on_too_long: truncate, error or skip, for examples that the model is too short for.
        threads: CPU threads; 0 uses all cores.
        on_prediction: Called with each prediction, in order, as soon as its batch is predicted.
        reporter: Receives progress events, except of standard input.

    Returns:
        One prediction for each example, in order.

    Raises:
        ConfigError: the model was not fine-tuned, or another format or split.
        DataError: examples that cannot be read, or predictions that are not numbers.
        StorageError: `out` cannot be written.
        BackendMissing: PyTorch is not installed.
    """
    check_backend("torch", "a prediction")
    from ogpt.training.torch_task_predictor import TorchTaskPredictor

    folder = ModelFolder.open(model)
    spec = task_of(folder.config, folder.path)
    _check_format(format, spec)
    read = _read(data, spec, split)
    target = None if out is None else _target(path_of(out, "out"), spec, read.split, format)
    predictor = TorchTaskPredictor(folder, threads)
    piped = _is_stdin(data)  # without a progress bar for each line
    what = f"the {read.split} set" if read.split else "the data"
    found: list[Prediction] = []

    def answers(batch: Sequence[Example]) -> list[Prediction]:
        examples = [replace(one, label=None) for one in batch]  # of which it must not know
        made = predictor.predict(
            examples,
            on_too_long=on_too_long,
            what=what,
            reporter=silent if piped else reporter,
        )
        return task_predictions(spec, examples, made.encoded.kept.tolist(), made.logits)

    for batch in read.batches:
        for predictions in _up_to_an_error(answers, batch) if piped else [answers(batch)]:
            found += predictions
            if on_prediction is not None:
                for one in predictions:
                    on_prediction(one)
    kept = sum(one.label is not None for one in found)
    check_some_kept(kept, len(found), folder.config.n_positions, what)
    if target is not None:
        with whole_file(target) as temporary:
            temporary.write_text("".join(written(found, spec, format)), "utf-8")
    return found


def _up_to_an_error(
    answers: Callable[[Sequence[Example]], list[Prediction]], batch: Sequence[Example]
) -> Iterator[list[Prediction]]:
    """The predictions of a batch; where an example has none, those before it, then its error."""
    try:
        together = answers(batch)
    except DataError:
        for one in batch:
            yield answers([one])
    else:
        yield together


def _check_format(format: str, spec: TaskSpec) -> None:
    allowed: tuple[Format, ...] = ("jsonl", "glue")
    if spec.family == "multiple-choice":
        allowed = ("jsonl", "storycloze", "rocstories")
    elif spec.problem == "multi_label_classification":
        allowed = ("jsonl",)
    if format not in allowed:
        raise ConfigError(
            f"format is {format!r}; allowed for {spec.problem} of {spec.family}: "
            f"{', '.join(allowed)}",
            hint="omit it for jsonl",
        )


def _read(data: Any, spec: TaskSpec, split: str | None) -> _Read:
    if not isinstance(data, str | Path):
        return _Read(_of_rows(iter([list(data)]), spec), "")
    if _is_stdin(data):
        return _Read(_of_rows(stdin_lines(), spec, piped=True), "")
    examples, split = read_task_file(path_of(data, "data"), spec, split, "test")
    return _Read(iter([examples]), split)


def _is_stdin(data: Any) -> bool:
    return isinstance(data, str | Path) and str(data) == STDIN


def _of_rows(
    batches: Iterator[Sequence[Any]], spec: TaskSpec, *, piped: bool = False
) -> Iterator[list[Example]]:
    """The examples of rows, which are numbered from 1.

    Of a pipe, those before a damaged row are answered before its error.
    """
    count = 0
    for rows in batches:
        examples = []
        for number, row in enumerate(rows, count + 1):
            place = f"example {number}"
            try:
                fields = row if isinstance(row, Mapping) else _parsed(row, spec, place)
                examples.append(example_of(fields, spec.family, spec.columns, place))
            except DataError:
                if piped and examples:
                    yield examples
                raise
        count += len(rows)
        if examples:
            yield examples
    if not count:
        raise DataError("there are no examples", hint="pass at least one")


def _target(out: Path, spec: TaskSpec, split: str, format: Format) -> Path:
    """The file to write: `out`, or in that folder the file of a known name."""
    if not out.is_dir():
        return out
    files: Mapping[str, str] = {}
    if split.startswith("test"):
        submissions = {"glue": TASKS[spec.name].submissions, "rocstories": {"test": ROCSTORIES}}
        files = submissions.get(format, {})
    if split_name(split) not in files:
        raise ConfigError(
            f"--out is {out}, a folder; allowed for {format} and {split or 'these examples'}: a "
            "file",
            hint="pass the name of a file; only submissions of test sets have known names",
        )
    return out / files[split_name(split)]


def _parsed(row: str, spec: TaskSpec, place: str) -> dict[str, Any]:
    """A line as the fields of a row: JSON, or the text itself for classification."""
    if spec.family == "classification" and not row.lstrip().startswith("{"):
        return {spec.columns.get("text", "text"): row}
    try:
        fields = parse_json(row)
        if isinstance(fields, dict):
            return fields
    except ValueError:
        pass
    raise DataError(
        f"{place} is {row[:80]!r}; allowed for {spec.family}: a JSON object",
        hint="write one JSON object per line, with the columns of the training data",
    )


def _submitted(label: Any, spec: TaskSpec) -> str:
    """A label as GLUE's server reads it: a name, or 0 and 1 for the sets that write these."""
    if spec.problem == "regression":  # similarities from 0 to 5
        return f"{min(5.0, max(0.0, label)):.3f}"
    by_id = spec.name in TASKS and TASKS[spec.name].submits == "id"
    return str(spec.labels.index(label)) if by_id else str(label)


def json_line(one: Prediction) -> str:
    """A prediction as a line of JSON."""
    fields = {"id": one.id} if one.id else {}
    scores = {} if one.scores is None else {"scores": one.scores}
    return json.dumps({**fields, "label": one.label, **scores}, ensure_ascii=False) + "\n"


def written(found: Sequence[Prediction], spec: TaskSpec, format: Format) -> Iterator[str]:
    """The lines of a file of predictions, in a format that the task has.

    Raises:
        ConfigError: a submission without all examples.
    """
    skipped = sum(one.label is None for one in found)
    if skipped and format != "jsonl":
        raise ConfigError(
            f"{skipped} of {len(found)} examples were skipped; a submission in the format {format} "
            "needs them all",
            hint="cut them with --on-too-long truncate",
        )
    if format == "jsonl":
        yield from map(json_line, found)
    elif format == "glue":
        yield GLUE_HEADER
        for index, one in enumerate(found):
            yield f"{index}\t{_submitted(one.label, spec)}\n"
    elif format == "storycloze":
        yield "InputStoryid,AnswerRightEnding\n"
        for index, one in enumerate(found):
            yield f"{one.id or index},{one.label + 1}\n"
    else:  # train.py of the 2018 code, predict()
        yield GLUE_HEADER
        for index, one in enumerate(found):
            yield f"{index}\t{one.label}\n"
