"""Commands that use a model or look at the machine."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer
from ogpt.cli.command import reporter
from ogpt.cli.figures import conversion, speed
from ogpt.cli.options import (
    Data,
    DecoderName,
    Encoding,
    Json,
    Model,
    More,
    Threads,
    parse_ids,
    sources,
)
from ogpt.errors import DataError


def generate(
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="Text to go on from; - reads stdin.")] = None,
    ids: Annotated[str | None, typer.Option(metavar="1,2,3", help="Token ids as prompt.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to write at most.")] = 50,
    min_new_tokens: Annotated[int, typer.Option(help="Tokens to write at least.")] = 0,
    temperature: Annotated[float, typer.Option(help="Above 0; lower is safer.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw among the k likeliest; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest of this mass.")] = 1.0,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always take the likeliest.")] = False,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text; repeatable.")
    ] = None,
    num_return_sequences: Annotated[int, typer.Option(help="Continuations to write.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.")] = 0,
    decoder: DecoderName = "auto",
    threads: Threads = 0,
    stats: Annotated[bool, typer.Option("--stats", help="End with the speed, on stderr.")] = False,
) -> None:
    """Write on from a prompt, showing words as they come."""
    import ogpt

    alone = num_return_sequences == 1
    written = ogpt.generate(
        model,
        _read_stdin() if prompt == "-" else prompt,
        ids=None if ids is None else parse_ids(ids),
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        do_sample=not greedy,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        num_return_sequences=num_return_sequences,
        stop=stop or (),
        decoder=decoder,
        threads=threads,
        on_text=_Stream() if alone else None,
    )
    typer.echo("" if alone else "\n".join(one.text.lstrip(" ") for one in written))
    if stats:
        typer.echo(speed(written.statistics), err=True)


class _Stream:
    """Shows the one text as it is written, without the space that parts it from the prompt."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, generation: int, text: str) -> None:
        typer.echo(text if self._begun else text.lstrip(" "), nl=False)
        self._begun = True


def _read_stdin() -> str:
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input is not {error.encoding}: byte {error.start} is "
            f"0x{error.object[error.start]:02x}",
            hint="convert it first, for example with iconv -t utf-8",
        ) from error


def evaluate(
    ctx: typer.Context,
    model: Model,
    data: Data,
    more: More = None,
    stride: Annotated[int, typer.Option(help="Tokens between two windows; 0: half of one.")] = 0,
    encoding: Encoding = "utf-8",
    decoder: DecoderName = "auto",
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
        threads=threads,
        reporter=reporter(ctx),
    )
    answer(result, as_json=as_json)


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
