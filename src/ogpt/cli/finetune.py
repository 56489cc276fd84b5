"""`ogpt finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer
from ogpt.cli.command import reporter
from ogpt.cli.common_options import Json
from ogpt.cli.field_options import with_field_options
from ogpt.tasks.task_source import TaskSource


@with_field_options(TaskSource)
def finetune(
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    model: Annotated[
        Path, typer.Option(help="Model to start from: a model folder, a run or a Hub id.")
    ],
    recipe: Annotated[
        str | None, typer.Option(help="paper or 2018-code.", show_default="paper")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="finetune.FIELD=VALUE", help="Set one field; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last checkpoint.")
    ] = False,
    as_json: Json = False,
    **named: Any,
) -> None:
    """Fine-tune a model on a task with labels (paper, section 3.2)."""
    import ogpt

    result = ogpt.finetune(
        model=model,
        out=out,
        recipe=recipe,
        config=config,
        overrides=overrides or (),
        resume=resume,
        reporter=reporter(),
        **named,
    )
    answer(result, as_json=as_json)
