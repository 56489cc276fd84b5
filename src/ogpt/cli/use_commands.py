"""Commands that measure, show and convert a model, or look at the machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer
from ogpt.cli.command import reporter
from ogpt.cli.figures import choices_table, conversion, quantisation, score_facts
from ogpt.cli.options import (
    Data,
    DecoderName,
    DtypeName,
    Encoding,
    Json,
    Model,
    More,
    Threads,
    read_prompt,
    sources,
)


def evaluate(
    ctx: typer.Context,
    model: Model,
    data: Data,
    more: More = None,
    stride: Annotated[int, typer.Option(help="Tokens between two windows; 0: half of one.")] = 0,
    encoding: Encoding = "utf-8",
    decoder: DecoderName = "auto",
    dtype: DtypeName = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Measure a model on a text: loss, perplexity, bits."""
    import ogpt

    result = ogpt.evaluate(
        model,
        sources(data, more),
        stride=stride,
        encoding=encoding,
        decoder=decoder,
        dtype=dtype,
        threads=threads,
        reporter=reporter(ctx),
    )
    answer(result, as_json=as_json)


def score(
    model: Model,
    text: Annotated[str, typer.Argument(help="Text to score; - reads stdin.")],
    choices: Annotated[
        list[str] | None,
        typer.Option(help="Score this instead, as what follows the text; repeatable."),
    ] = None,
    stride: Annotated[
        int, typer.Option(help="Tokens between two windows of a long text; 0: half of one.")
    ] = 0,
    decoder: DecoderName = "auto",
    dtype: DtypeName = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Log-probabilities of a text, or of choices that follow it."""
    import ogpt

    found = ogpt.score(
        model,
        read_prompt(text),
        choices=choices or (),
        stride=stride,
        decoder=decoder,
        dtype=dtype,
        threads=threads,
    )
    if as_json:
        plain = [asdict(one) for one in found]
        answer({"choices": plain} if choices else plain[0], as_json=True)
    elif choices:
        typer.echo(choices_table(found))
    else:
        answer(score_facts(found[0]), as_json=False)


def quantize(
    ctx: typer.Context,
    model: Model,
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    to: Annotated[
        str, typer.Option(help="int8 or int4, for the native decoder, or bf16, for any.")
    ] = "int8",
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE...", help="Text to compare on; else Python's documentation."),
    ] = None,
    more: More = None,
    max_tokens: Annotated[int, typer.Option(help="Tokens of it that are read; 0: all.")] = 4096,
    encoding: Encoding = "utf-8",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Make a model folder of fewer bits, and show what it costs on a text."""
    import ogpt

    made = ogpt.quantize(
        model,
        out,
        to=to,
        data=sources(data or (), more),
        max_tokens=max_tokens,
        encoding=encoding,
        threads=threads,
        reporter=reporter(ctx),
    )
    if as_json:
        answer(made, as_json=True)
    else:
        typer.echo("\n".join(quantisation(made)))


def info(model: Model, as_json: Json = False) -> None:
    """Show the shape, weights, tokenizer, training of a model."""
    import ogpt

    answer(ogpt.info(model), as_json=as_json)


def convert(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="A folder of Hugging Face's (safetensors, .bin, .h5) or OpenAI's files "
            "(params_*.npy), a run, a Hub id, or one weights file.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    to: Annotated[
        str, typer.Option(help="safetensors: a model folder; openai: OpenAI's files.")
    ] = "safetensors",
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16, float16 or float64; else as stored.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="config.json, where the weights have none beside them.")
    ] = None,
    n_head: Annotated[
        int | None, typer.Option(min=1, help="Heads of OpenAI's files; else n_embd / 64.")
    ] = None,
    max_shard_size: Annotated[
        str, typer.Option(help="Size of a weights file, beyond which there are several.")
    ] = "5GB",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub id.")] = None,
) -> None:
    """Make a model folder, or OpenAI's files, of any checkpoint."""
    import ogpt

    made = ogpt.convert(
        source,
        out,
        to=to,
        dtype=dtype,
        config=config,
        n_head=n_head,
        max_shard_size=max_shard_size,
        revision=revision,
        reporter=reporter(ctx),
    )
    typer.echo("\n".join(conversion(made)))


def doctor(as_json: Json = False) -> None:
    """Show what this machine offers and how to mend the rest."""
    import ogpt

    checks = ogpt.doctor()
    if as_json:
        answer({check.name: asdict(check) for check in checks}, as_json=True)
        return
    facts: dict[str, Any] = {check.name: check.value for check in checks}
    if mends := {check.name: check.mend for check in checks if check.mend}:
        facts["to mend"] = mends
    answer(facts, as_json=False)
