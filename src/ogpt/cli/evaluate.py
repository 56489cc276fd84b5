"""`ogpt evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer, write
from ogpt.cli.command import reporter
from ogpt.cli.common_options import (
    Encoding,
    Json,
    Model,
    More,
    Split,
    TextField,
    TooLong,
    sources,
)
from ogpt.cli.field_options import with_field_options
from ogpt.cli.figures import probe_table
from ogpt.decoding.options import DecoderOptions
from ogpt.evaluation.probe_source import ProbeSource
from ogpt.notices import tell


@with_field_options(
    DecoderOptions, ProbeSource, only=("decoder", "dtype", "threads", "probes", "probe_rows")
)
def evaluate(
    model: Model,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE...",
            help="Text: a file, a folder, a glob or a builtin; or labelled examples.",
        ),
    ] = None,
    more: More = None,
    stride: Annotated[
        int,
        typer.Option(help="Stride of the sliding window in tokens; 0 uses half a window."),
    ] = 0,
    encoding: Encoding = "utf-8",
    text_field: TextField = "text",
    split: Split = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for tables and pictures of a task.")
    ] = None,
    on_too_long: TooLong = "truncate",
    as_json: Json = False,
    **named: Any,
) -> None:
    """Measure perplexity, task scores, or zero-shot probes."""
    import ogpt

    probes, rows = named.pop("probes"), named.pop("probe_rows")
    if probes is not None:
        for name, value in (("--data", data), ("--split", split), ("--out", out)):
            if value:
                reason = "--probes measures its own sets"
                tell("setting-without-effect", setting=name, reason=reason)
        found = ogpt.evaluate_probes(model, probes, probe_rows=rows, reporter=reporter(), **named)
        answer(found, as_json=True) if as_json else write(probe_table(found))
        return
    if rows:
        tell("setting-without-effect", setting="--probe-rows", reason="--probes is not passed")
    result = ogpt.evaluate(
        model,
        sources(data or (), more),
        stride=stride,
        encoding=encoding,
        text_field=text_field,
        split=split,
        out=out,
        on_too_long=on_too_long,  # type: ignore[arg-type]  # checked there
        reporter=reporter(),
        **named,
    )
    answer(result, as_json=as_json)
