"""The `ogpt` command: global options, and the commands in the order of use.

stdout is for data; progress, notices and errors go to stderr. No command loads its work before it
runs, so that `ogpt --help` is fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ogpt.cli.command import Command, Session
from ogpt.cli.convert import convert
from ogpt.cli.demo import demo
from ogpt.cli.doctor import doctor
from ogpt.cli.evaluate import evaluate
from ogpt.cli.finetune import finetune
from ogpt.cli.generate import generate
from ogpt.cli.info import info
from ogpt.cli.predict import predict
from ogpt.cli.prepare import prepare
from ogpt.cli.pretrain import pretrain
from ogpt.cli.quantize import quantize
from ogpt.cli.reproduce import reproduce
from ogpt.cli.saved_documents import documents
from ogpt.cli.score import score
from ogpt.cli.serve import serve
from ogpt.cli.train_tokenizer import train_tokenizer
from ogpt.version import __version__

GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Train": (demo, train_tokenizer, prepare, pretrain, finetune, reproduce),
    "Use": (generate, serve, documents, score, evaluate, predict, quantize, convert),
    "Look": (info,),
    "Machine": (doctor,),
}
"""The commands by their headings in `ogpt --help`, in the order of use."""


class Commands(TyperGroup):
    """The group of all commands; its help lists them by heading, each with its whole help line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each heading and its commands, in plain text."""
        width = max(map(len, self.commands))
        for heading in GROUPS:
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (name.ljust(width), command.help or "")
                        for name, command in self.commands.items()
                        if getattr(command, "rich_help_panel", None) == heading
                    ]
                )


app = typer.Typer(
    name="ogpt",
    cls=Commands,
    help="The OpenAI GPT (GPT-1, 2018) system: train, generate, score, convert.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: quick to print, stable to read by scripts
    pretty_exceptions_enable=False,
)
for _heading, _bodies in GROUPS.items():
    for _body in _bodies:
        _name = _body.__name__.replace("_", "-")
        app.command(_name, cls=Command, rich_help_panel=_heading)(_body)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ogpt {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    ctx: typer.Context,
    strict: Annotated[
        bool, typer.Option("--strict", help="Treat the first notice as an error.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    ctx.obj = Session(strict=strict, quiet=quiet, debug=debug)


def run() -> None:
    """Run the command line (the entry point `ogpt`)."""
    app()
