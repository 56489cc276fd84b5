"""The command that writes text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer
from ogpt.cli.command import reporter
from ogpt.cli.figures import rows_written, speed
from ogpt.cli.options import (
    CacheDtypeName,
    DecoderName,
    Deterministic,
    DtypeName,
    Model,
    Threads,
    parse_biases,
    parse_ids,
    read_prompt,
)
from ogpt.errors import ConfigError
from ogpt.notices import tell


def _panel(name: str) -> Callable[..., Any]:
    """Makes options of a panel, from their help and what else they have."""
    return lambda text, *names, **more: typer.Option(
        *names, help=text, rich_help_panel=name, **more
    )


_drawing, _steering, _searching = map(_panel, ("Drawing", "Steering", "Other searches"))


def generate(
    ctx: typer.Context,
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="Text to go on from; - reads stdin.")] = None,
    ids: Annotated[str | None, typer.Option(metavar="1,2,3", help="Token ids as prompt.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to write at most.")] = 50,
    min_new_tokens: Annotated[int, typer.Option(help="Tokens to write at least.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text; repeatable.")
    ] = None,
    num_return_sequences: Annotated[int, typer.Option(help="Continuations to write.")] = 1,
    data: Annotated[
        Path | None,
        typer.Option(help="JSON Lines with a prompt (or text) in each row, in place of a prompt."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON Lines to write for --data; a stopped command goes on there."),
    ] = None,
    top_logprobs: Annotated[
        int, typer.Option(help="Likeliest tokens to tell with each token, in --json and --out.")
    ] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, when all is written.")
    ] = False,
    stats: Annotated[bool, typer.Option("--stats", help="End with the speed, on stderr.")] = False,
    greedy: Annotated[bool, _drawing("Always take the likeliest.", "--greedy")] = False,
    seed: Annotated[int, _drawing("The same seed writes the same text.")] = 0,
    temperature: Annotated[float, _drawing("Above 0; lower is safer.")] = 1.0,
    top_k: Annotated[
        int, _drawing("Draw among the k likeliest; 0: all. Candidates of --penalty-alpha.")
    ] = 0,
    top_p: Annotated[float, _drawing("Draw among the likeliest of this mass.")] = 1.0,
    min_p: Annotated[
        float, _drawing("Draw among those at least this times as likely as the likeliest.")
    ] = 0.0,
    typical_p: Annotated[
        float, _drawing("Draw among those nearest to the entropy, of this mass.")
    ] = 1.0,
    repetition_penalty: Annotated[
        float, _steering("Above 1: tokens of the text are less likely.")
    ] = 1.0,
    frequency_penalty: Annotated[
        float, _steering("Taken from a logit for each time that its token was written.")
    ] = 0.0,
    presence_penalty: Annotated[
        float, _steering("Taken from a logit once its token was written.")
    ] = 0.0,
    no_repeat_ngram_size: Annotated[
        int, _steering("So many tokens in a row occur once; 0: any number of times.")
    ] = 0,
    ban: Annotated[
        list[str] | None, _steering("Never write this; repeatable.", metavar="TEXT")
    ] = None,
    bias: Annotated[
        list[str] | None,
        _steering("Add this to a text's logit; repeatable.", metavar="TEXT=NUMBER"),
    ] = None,
    beams: Annotated[int, _searching("Beams of a beam search; 1: none.")] = 1,
    beam_groups: Annotated[int, _searching("Groups of beams that differ.")] = 1,
    diversity_penalty: Annotated[
        float, _searching("Keeps a group of beams from the tokens of those before it.")
    ] = 0.0,
    length_penalty: Annotated[
        float, _searching("Above 1 favours longer beams, below 1 shorter ones.")
    ] = 1.0,
    penalty_alpha: Annotated[
        float, _searching("Contrastive search: weight of likeness to the text, 0 to 1; 0: none.")
    ] = 0.0,
    decoder: DecoderName = "auto",
    dtype: DtypeName = "auto",
    threads: Threads = 0,
    cache_dtype: CacheDtypeName = "float32",
    deterministic: Deterministic = False,
    batch_size: Annotated[
        int,
        typer.Option(
            help="Texts to write at once, each with its cache in memory.",
            rich_help_panel="Running",
        ),
    ] = 16,
    prompt_lookup: Annotated[
        int | None,
        typer.Option(
            help="Tokens to read ahead at most where a text repeats itself; 0: none. Changes the "
            "speed, no text.",
            show_default="as many as pay",
            rich_help_panel="Running",
        ),
    ] = None,
) -> None:
    """Write on from a prompt, showing words as they come; or from every row of a file."""
    import ogpt

    settings: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "min_new_tokens": min_new_tokens,
        "do_sample": not greedy and beams == 1 and not penalty_alpha,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "typical_p": typical_p,
        "repetition_penalty": repetition_penalty,
        "frequency_penalty": frequency_penalty,
        "presence_penalty": presence_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "seed": seed,
        "num_return_sequences": num_return_sequences,
        "num_beams": beams,
        "num_beam_groups": beam_groups,
        "diversity_penalty": diversity_penalty,
        "length_penalty": length_penalty,
        "penalty_alpha": penalty_alpha,
        "prompt_lookup_num_tokens": prompt_lookup,
    }
    how: dict[str, Any] = {
        "stop": stop or (),
        "ban": ban or (),
        "bias": parse_biases(bias or ()),
        "top_logprobs": top_logprobs,
        "decoder": decoder,
        "dtype": dtype,
        "threads": threads,
        "cache_dtype": cache_dtype,
        "deterministic": deterministic,
        "batch_size": batch_size,
    }
    if data is not None or out is not None:
        data, out = _both_files(data, out, prompt, ids)
        asked = ogpt.GenerationSettings(**settings)
        made = ogpt.generate_file(model, data, out, asked, **how, reporter=reporter(ctx))
        if as_json:
            answer({"file": made.file, "rows": made.rows, "kept": made.kept}, as_json=True)
        else:
            typer.echo(rows_written(made))
        statistics = made.statistics
    else:
        if top_logprobs and not as_json:
            reason = "only --json and --out tell log-probabilities"
            tell("setting-without-effect", setting="--top-logprobs", reason=reason)
        streams = num_return_sequences == 1 and not as_json
        written = ogpt.generate(
            model,
            None if prompt is None else read_prompt(prompt),
            ids=None if ids is None else parse_ids(ids),
            **settings,
            **how,
            on_text=_Stream() if streams else None,
        )
        if as_json:
            answer({"continuations": [asdict(one) for one in written]}, as_json=True)
        else:
            typer.echo("" if streams else "\n".join(one.text.lstrip(" ") for one in written))
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
