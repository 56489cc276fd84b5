"""`ogpt pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer
from ogpt.cli.command import reporter
from ogpt.cli.common_options import Backend, Config, Json, More, Plan, Resume, Valid, sources
from ogpt.cli.field_options import with_field_options
from ogpt.config.starting_point import StartingPoint
from ogpt.evaluation.probe_source import ProbeSource


@with_field_options(StartingPoint, ProbeSource, only=("tokenizer", "init", "probes"))
def pretrain(
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    more: More = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE_OR_SHARDS...", help="Text to train on, or prepared shards."),
    ] = None,
    valid: Valid = None,
    preset: Annotated[
        str | None, typer.Option(help="Named settings: paper, small or tiny.")
    ] = None,
    config: Config = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Set one field; repeatable."),
    ] = None,
    backend: Backend = None,
    resume: Resume = False,
    plan: Plan = False,
    as_json: Json = False,
    **named: Any,
) -> None:
    """Pre-train a language model on text (paper, section 3.1)."""
    import ogpt

    task = ogpt.plan if plan else ogpt.pretrain
    result = task(
        preset=preset,
        data=sources(data or (), more),
        valid=valid or (),
        out=out,
        config=config,
        overrides=overrides or (),
        backend=backend,
        resume=resume,
        reporter=reporter(),
        **named,
    )
    answer(result, as_json=as_json)
