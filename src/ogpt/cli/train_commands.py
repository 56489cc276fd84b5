"""Commands that make things: demo, train-tokenizer, prepare, pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ogpt.cli.answers import answer
from ogpt.cli.command import reporter
from ogpt.cli.figures import demo_story
from ogpt.cli.options import Data, Encoding, Json, More, Valid, sources


def demo(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/demo"),
) -> None:
    """Train a small GPT on Python's own documentation."""
    import ogpt

    typer.echo(demo_story(ogpt.demo(out=out, reporter=reporter(ctx))))


def train_tokenizer(
    ctx: typer.Context,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the tokenizer.")],
    more: More = None,
    vocab_size: Annotated[
        int, typer.Option(help="Entries to learn, characters included.")
    ] = 40_000,
    pre_tokenizer: Annotated[
        str, typer.Option(help="How text becomes words: bert, openai or hf-spacy.")
    ] = "bert",
    encoding: Encoding = "utf-8",
) -> None:
    """Learn a vocabulary and its merges from text."""
    import ogpt
    from ogpt.tokens.tokenizer import as_pre_tokenizer

    ogpt.train_tokenizer(
        sources(data, more),
        vocab_size,
        out,
        pre_tokenizer=as_pre_tokenizer(pre_tokenizer),
        encoding=encoding,
        reporter=reporter(ctx),
    )


def prepare(
    ctx: typer.Context,
    data: Data,
    tokenizer: Annotated[Path, typer.Option(help="Folder of the tokenizer.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    more: More = None,
    valid: Valid = None,
    valid_fraction: Annotated[
        float, typer.Option(help="Share of the documents held out where --valid names none.")
    ] = 0.05,
    encoding: Encoding = "utf-8",
) -> None:
    """Turn text into shards of token ids; skips what is done."""
    import ogpt
    from ogpt.config.pretrain_settings import DataSettings

    ogpt.prepare(
        sources(data, more),
        tokenizer,
        out,
        valid=valid or (),
        settings=DataSettings(valid_fraction=valid_fraction, encoding=encoding),
        reporter=reporter(ctx),
    )


def pretrain(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    more: More = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE_OR_SHARDS...", help="Text to train on, or prepared shards."),
    ] = None,
    valid: Valid = None,
    preset: Annotated[str | None, typer.Option(help="paper, small or tiny.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings in a TOML file.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="One setting; repeatable."),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Tokenizer folder; without it one is learned.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Go on training from this model.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last save.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print what the run would take.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a language model on text (paper, section 3.1)."""
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
        reporter=reporter(ctx),
    )
    answer(result, as_json=as_json)
