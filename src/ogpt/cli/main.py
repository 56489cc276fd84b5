"""The `ogpt` command: global options and the commands, none of which loads its work before it runs.

stdout is for data; progress, notices and errors go to stderr.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from ogpt.cli import generate_command, train_commands, use_commands
from ogpt.cli.command import Command, Session
from ogpt.version import __version__

app = typer.Typer(
    name="ogpt",
    help="The whole OpenAI GPT (GPT-1, 2018) system.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: quick to print, stable to read by scripts
    pretty_exceptions_enable=False,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": train_commands.demo,
    "train-tokenizer": train_commands.train_tokenizer,
    "prepare": train_commands.prepare,
    "pretrain": train_commands.pretrain,
    "generate": generate_command.generate,
    "score": use_commands.score,
    "evaluate": use_commands.evaluate,
    "info": use_commands.info,
    "convert": use_commands.convert,
    "quantize": use_commands.quantize,
    "doctor": use_commands.doctor,
}
for _name, _body in COMMANDS.items():
    app.command(_name, cls=Command)(_body)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ogpt {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    ctx: typer.Context,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first notice.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    ctx.obj = Session(strict=strict, quiet=quiet, debug=debug)


def run() -> None:
    """Run the command line (the entry point `ogpt`)."""
    app()
