"""`ogpt predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ogpt.cli.answers import write
from ogpt.cli.command import reporter
from ogpt.cli.common_options import Model, Split, TooLong

if TYPE_CHECKING:
    from ogpt.evaluation.task_predictions import Prediction


def predict(
    model: Model,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Examples: .jsonl, .csv, .tsv or .parquet, or a folder with the data set of the "
            "model; - answers each line of standard input, JSON or text.",
        ),
    ],
    split: Split = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write, or for a submission an existing folder, in which the file gets "
            "its usual name; without it, standard output."
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="jsonl, glue or storycloze (what those servers take), or rocstories (as in 2018).",
        ),
    ] = "jsonl",
    on_too_long: TooLong = "truncate",
    threads: Annotated[int, typer.Option(help="Number of CPU threads; 0 uses all cores.")] = 0,
) -> None:
    """Predict labels with a fine-tuned model."""
    import ogpt
    from ogpt.folders.model_folder import ModelFolder
    from ogpt.tasks.task_spec import task_of
    from ogpt.workflows.predict import json_line, written

    def show(one: Prediction) -> None:
        write(json_line(one), end="")

    folder = ModelFolder.open(model)
    found = ogpt.predict(
        folder,
        data,
        split=split,
        out=out,
        format=form,  # type: ignore[arg-type]  # checked there
        on_too_long=on_too_long,  # type: ignore[arg-type]  # checked there
        threads=threads,
        on_prediction=show if out is None and form == "jsonl" else None,
        reporter=reporter(),
    )
    if out is None and form != "jsonl":
        for line in written(found, task_of(folder.config, folder.path), form):  # type: ignore[arg-type]
            write(line, end="")
