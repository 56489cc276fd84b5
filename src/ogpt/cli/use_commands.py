"""Commands that use a model or look at the machine."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer
from ogpt.cli.command import reporter
from ogpt.cli.figures import (
    choices_table,
    conversion,
    quantisation,
    rows_written,
    score_facts,
    speed,
)
from ogpt.cli.options import (
    Data,
    DecoderName,
    DtypeName,
    Encoding,
    Json,
    Model,
    More,
    Threads,
    parse_ids,
    sources,
)
from ogpt.errors import ConfigError, DataError


def generate(
    ctx: typer.Context,
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
    beams: Annotated[int, typer.Option(help="Beams of a beam search; 1: none.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option(help="JSON Lines with a prompt (or text) in each row, in place of a prompt."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON Lines to write for --data; a stopped command goes on there."),
    ] = None,
    decoder: DecoderName = "auto",
    dtype: DtypeName = "auto",
    threads: Threads = 0,
    stats: Annotated[bool, typer.Option("--stats", help="End with the speed, on stderr.")] = False,
) -> None:
    """Write on from a prompt, showing words as they come; or from every row of a file."""
    import ogpt

    settings: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "min_new_tokens": min_new_tokens,
        "do_sample": not greedy and beams == 1,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "num_return_sequences": num_return_sequences,
        "num_beams": beams,
    }
    how: dict[str, Any] = {
        "stop": stop or (),
        "decoder": decoder,
        "dtype": dtype,
        "threads": threads,
    }
    if data is not None or out is not None:
        data, out = _both_files(data, out, prompt, ids)
        made = ogpt.generate_file(
            model,
            data,
            out,
            ogpt.GenerationSettings(**settings),
            **how,
            reporter=reporter(ctx),
        )
        typer.echo(rows_written(made))
        statistics = made.statistics
    else:
        alone = num_return_sequences == 1
        written = ogpt.generate(
            model,
            _read_stdin() if prompt == "-" else prompt,
            ids=None if ids is None else parse_ids(ids),
            **settings,
            **how,
            on_text=_Stream() if alone else None,
        )
        typer.echo("" if alone else "\n".join(one.text.lstrip(" ") for one in written))
        statistics = written.statistics
    if stats and statistics is not None:
        typer.echo(speed(statistics, _bandwidth(statistics, threads)), err=True)


def _both_files(
    data: Path | None, out: Path | None, prompt: str | None, ids: str | None
) -> tuple[Path, Path]:
    """Input and output, where both are given and no other prompt is."""
    if data is None or out is None:
        raise ConfigError(
            f"{'--out' if data is None else '--data'} was given alone; allowed: both or neither",
            hint="for example --data prompts.jsonl --out texts.jsonl",
        )
    if prompt is not None or ids is not None:
        raise ConfigError(
            "a prompt and --data were given; allowed: one of the two",
            hint="put the prompt into the file",
        )
    return data, out


def _bandwidth(statistics: Any, threads: int) -> float | None:
    """Bytes a second of this machine's memory, where a share of it can be told."""
    from ogpt.decoding.floor import read_bandwidth

    return read_bandwidth(threads) if statistics.why_no_share is None else None


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
        _read_stdin() if text == "-" else text,
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
