"""`ogpt generate`: its options are the fields of GenerationSettings and DecoderOptions."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer, write
from ogpt.cli.command import reporter
from ogpt.cli.common_options import Model, parse_ids, read_prompt
from ogpt.cli.field_options import with_field_options
from ogpt.cli.figures import rows_written, speed
from ogpt.cli.stderr import Stderr
from ogpt.config.described import descriptions
from ogpt.decoding.options import BATCH_SIZE, BATCH_SIZE_HELP, RUNNING, DecoderOptions
from ogpt.errors import ConfigError
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.notices import tell
from ogpt.tokens.surface import Surface


@with_field_options(GenerationSettings, DecoderOptions)
def generate(
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="Prompt text; - reads stdin.")] = None,
    ids: Annotated[
        str | None, typer.Option(metavar="1,2,3", help="Token ids, in place of a prompt.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Read prompts from a JSON Lines file (field prompt or text); - reads stdin."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write JSON Lines here (with --data); rerun to resume."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end.")
    ] = False,
    surface: Annotated[
        Surface | None,
        typer.Option(
            help=descriptions(GenerationSettings)["surface"].help,
            show_default="readable on a terminal, otherwise raw",
        ),
    ] = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Report generation speed on stderr.")
    ] = False,
    batch_size: Annotated[
        int, typer.Option(help=BATCH_SIZE_HELP, rich_help_panel=RUNNING)
    ] = BATCH_SIZE,
    assistant_model: Annotated[
        Path | None,
        typer.Option(
            "--assistant",
            metavar="MODEL",
            help="Draft tokens with this smaller model. Does not change the output.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    **named: Any,
) -> None:
    """Generate text from a prompt or a JSON Lines file."""
    import ogpt

    named["batch_size"] = batch_size
    named["assistant_model"] = assistant_model
    shown = on_terminal() and not as_json and data is None
    named["surface"] = surface or ("readable" if shown else "raw")
    if data is not None or out is not None:
        data, out = _both_files(data, out, prompt, ids)
        made = ogpt.generate_file(model, data, out, reporter=reporter(), **named)
        if as_json:
            answer({"file": made.file, "rows": made.rows, "kept": made.kept}, as_json=True)
        else:
            write(rows_written(made))
        statistics = made.statistics
    else:
        if named["top_logprobs"] and not as_json:
            reason = "only --json and --out report log-probabilities"
            tell("setting-without-effect", setting="--top-logprobs", reason=reason)
        streams = named["num_return_sequences"] == 1 and not as_json
        written = ogpt.generate(
            model,
            None if prompt is None else read_prompt(prompt),
            ids=None if ids is None else parse_ids(ids),
            on_text=_Stream() if streams else None,
            **named,
        )
        if as_json:
            answer({"continuations": [asdict(one) for one in written]}, as_json=True)
        else:
            write("" if streams else "\n".join(one.text.lstrip(" ") for one in written))
        statistics = written.statistics
    if stats and statistics is not None:
        line = speed(statistics, _bandwidth(statistics, named["threads"]))
        Stderr().write(f"{line}\n")


def on_terminal() -> bool:
    """Whether people read stdout."""
    return sys.stdout.isatty()


def _both_files(
    data: Path | None, out: Path | None, prompt: str | None, ids: str | None
) -> tuple[Path, Path]:
    """Input and output file, if both are given and there is no other prompt."""
    if data is None or out is None:
        raise ConfigError(
            f"{'--out' if data is None else '--data'} was given alone; allowed: both or neither",
            hint="pass for example --data prompts.jsonl --out texts.jsonl",
        )
    if prompt is not None or ids is not None:
        raise ConfigError(
            "a prompt and --data were given; allowed: one of the two",
            hint="put the prompt into the file",
        )
    return data, out


def _bandwidth(statistics: Any, threads: int) -> float | None:
    """Memory bandwidth in bytes per second, if the speed is a share of it."""
    from ogpt.decoding.floor import read_bandwidth

    return read_bandwidth(threads) if statistics.why_no_share is None else None


class _Stream:
    """Prints one text as it is generated, without the space between prompt and continuation."""

    def __init__(self) -> None:
        self._started = False

    def __call__(self, generation: int, text: str) -> None:
        write(text if self._started else text.lstrip(" "), end="")
        self._started = True
