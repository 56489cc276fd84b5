"""`ogpt score`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer, write
from ogpt.cli.common_options import Json, Model, read_prompt
from ogpt.cli.field_options import with_field_options
from ogpt.cli.figures import choices_table, score_facts
from ogpt.decoding.options import DecoderOptions


@with_field_options(DecoderOptions, only=("decoder", "dtype", "threads"))
def score(
    model: Model,
    text: Annotated[str, typer.Argument(help="Text to score; - reads stdin.")],
    choices: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Score this continuation of the text; repeatable."),
    ] = None,
    stride: Annotated[
        int, typer.Option(help="Stride of the sliding window in tokens; 0 uses half a window.")
    ] = 0,
    as_json: Json = False,
    **named: Any,
) -> None:
    """Score a text, or rank continuations, by log-probability."""
    import ogpt

    found = ogpt.score(model, read_prompt(text), choices=choices or (), stride=stride, **named)
    if as_json:
        plain = [asdict(one) for one in found]
        answer({"choices": plain} if choices else plain[0], as_json=True)
    elif choices:
        write(choices_table(found))
    else:
        answer(score_facts(found[0]), as_json=False)
