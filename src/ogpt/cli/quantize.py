"""`ogpt quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer, write
from ogpt.cli.command import reporter
from ogpt.cli.common_options import Encoding, Json, Model, More, TextField, sources
from ogpt.cli.field_options import with_field_options
from ogpt.cli.figures import quantization
from ogpt.decoding.options import DecoderOptions


@with_field_options(DecoderOptions, only=("threads",))
def quantize(
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder to create.")],
    to: Annotated[
        str,
        typer.Option(
            help="Target dtype: int8 or int4 (native decoder only), or bf16 (any decoder)."
        ),
    ] = "int8",
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE...", help="Text to compare on; the default is Python's documentation."
        ),
    ] = None,
    more: More = None,
    max_tokens: Annotated[
        int, typer.Option(help="Maximum number of tokens to compare on; 0 uses the whole text.")
    ] = 4096,
    encoding: Encoding = "utf-8",
    text_field: TextField = "text",
    as_json: Json = False,
    **named: Any,
) -> None:
    """Quantize a model and report the change in loss."""
    import ogpt

    made = ogpt.quantize(
        model,
        out,
        to=to,
        data=sources(data or (), more),
        max_tokens=max_tokens,
        encoding=encoding,
        text_field=text_field,
        reporter=reporter(),
        **named,
    )
    if as_json:
        answer(made, as_json=True)
    else:
        write("\n".join(quantization(made)))
