"""`ogpt finetune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer, write
from ogpt.cli.command import reporter
from ogpt.cli.common_options import TOO_LONG_HELP, Backend, Config, Json, Plan, Resume
from ogpt.cli.field_options import with_field_options
from ogpt.cli.figures import sweep
from ogpt.config.described import Option, described
from ogpt.config.ranges import OneOf
from ogpt.tasks.task_source import TaskSource


@dataclass(frozen=True, slots=True)
class SettingOptions:
    """Settings that have an option beside `--set`."""

    on_too_long: str | None = described(
        None,
        TOO_LONG_HELP,
        OneOf((None, "truncate", "error", "skip")),
        "omit it to truncate",
        Option(panel="Data", shown_default="truncate"),
    )


@with_field_options(TaskSource, SettingOptions)
def finetune(
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    model: Annotated[
        Path, typer.Option(help="Model to start from: a model folder, a run or a Hub id.")
    ],
    recipe: Annotated[
        str | None, typer.Option(help="paper or 2018-code.", show_default="paper")
    ] = None,
    config: Config = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="finetune.FIELD=VALUE", help="Set one field; repeatable."),
    ] = None,
    backend: Backend = None,
    resume: Resume = False,
    seeds: Annotated[
        int,
        typer.Option(help="Number of runs with different seeds; OUT/sweep.json sums them up."),
    ] = 1,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="paper|finetune.FIELD=V,V",
            help="Try each combination, and choose by the validation set; repeatable.",
        ),
    ] = None,
    plan: Plan = False,
    as_json: Json = False,
    **named: Any,
) -> None:
    """Fine-tune a model on a task with labels (paper, section 3.2)."""
    import ogpt

    if (on_too_long := named.pop("on_too_long")) is not None:
        overrides = [*(overrides or ()), f"finetune.on_too_long={on_too_long}"]
    arguments = {
        **named,
        "model": model,
        "out": out,
        "recipe": recipe,
        "config": config,
        "overrides": overrides or (),
        "backend": backend,
        "resume": resume,
        "reporter": reporter(),
    }
    if plan:
        made = ogpt.finetune_plan(seeds=seeds, grid=grid or (), **arguments)
        answer(made, as_json=as_json)
    elif seeds != 1 or grid:
        found = ogpt.finetune_sweep(seeds=seeds, grid=grid or (), **arguments)
        answer(found, as_json=True) if as_json else write(sweep(found))
    else:
        answer(ogpt.finetune(**arguments), as_json=as_json)
