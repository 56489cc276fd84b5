"""`ogpt pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ogpt.cli.answers import answer
from ogpt.cli.command import reporter
from ogpt.cli.common_options import Json, More, Valid, sources


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
    config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Set one field; repeatable."),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of the tokenizer; without it, one is trained.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Start from the weights of this model.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last checkpoint.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Estimate cost and exit without training.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Pre-train a language model on text (paper, section 3.1)."""
    import ogpt

    task = ogpt.plan if plan else ogpt.pretrain
    result = task(
        preset=preset,
        data=sources(data or (), more),
        valid=valid or (),
        tokenizer=tokenizer,
        init=init,
        out=out,
        config=config,
        overrides=overrides or (),
        resume=resume,
        reporter=reporter(),
    )
    answer(result, as_json=as_json)
