"""`ogpt evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer
from ogpt.cli.command import reporter
from ogpt.cli.common_options import (
    Data,
    Encoding,
    Json,
    Model,
    More,
    Split,
    TextField,
    sources,
)
from ogpt.cli.field_options import with_field_options
from ogpt.decoding.options import DecoderOptions


@with_field_options(DecoderOptions, only=("decoder", "dtype", "threads"))
def evaluate(
    model: Model,
    data: Data,
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
    as_json: Json = False,
    **named: Any,
) -> None:
    """Measure perplexity on a text, or scores on labelled examples."""
    import ogpt

    result = ogpt.evaluate(
        model,
        sources(data, more),
        stride=stride,
        encoding=encoding,
        text_field=text_field,
        split=split,
        out=out,
        reporter=reporter(),
        **named,
    )
    answer(result, as_json=as_json)
