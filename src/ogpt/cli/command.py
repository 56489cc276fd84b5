"""The base of every command: its view, its notices, and the exit codes of its errors."""

from __future__ import annotations

import traceback
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from ogpt.cli.answers import noticing_escapes
from ogpt.cli.stderr import Stderr
from ogpt.errors import ConfigError, OgptError, SamplingError
from ogpt.reporting import Reporter, silent
from ogpt.storage import path_of

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
_WORDS = "ogpt.words"


_reporter: ContextVar[Reporter] = ContextVar("ogpt_command_reporter", default=silent)


@dataclass(frozen=True)
class Session:
    """The global options of a command line."""

    strict: bool = False
    quiet: bool = False
    debug: bool = False


def reporter() -> Reporter:
    """The view of the running command, which shows its progress."""
    return _reporter.get()


class Command(TyperCommand):
    """A command with a view on stderr; its errors become `error:` and `hint:` lines."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options and the options of each panel under a heading, in plain text."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            name = "Arguments" if parameter.param_type_name == "argument" else "Options"
            name = getattr(parameter, "rich_help_panel", None) or name
            if (record := parameter.get_help_record(ctx)) is not None:
                panels.setdefault(name, []).append(record)
        for name, records in panels.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command's name, and keep them for `invoke`."""
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the body; exit with 2 for wrong usage, 130 for Ctrl-C, 1 for other failures."""
        from ogpt.cli.console import open_view
        from ogpt.notices import listening, refuse

        session: Session = ctx.obj
        stderr = Stderr()
        try:
            with (
                open_view(quiet=session.quiet) as view,
                listening(refuse if session.strict else view.notice),
                noticing_escapes(),
            ):
                _reporter.set(view)
                _check_paths(self, ctx)
                return super().invoke(ctx)
        except (typer.Exit, BrokenPipeError):  # an exit code, and a closed pipe: Typer handles both
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost handler
            if session.debug:
                stderr.write("".join(traceback.format_exception(error)))
            code, message, hint = verdict(error)
            stderr.write(f"error: {message}\nhint: {hint}\n")
            raise typer.Exit(code) from None
        finally:
            stderr.settle()


def _check_paths(command: TyperCommand, ctx: Any) -> None:
    """Refuse an empty path, which pathlib has turned into the current folder by now.

    Raises:
        ConfigError: a path is empty.
    """
    words: list[str] = ctx.meta[_WORDS]
    for parameter in command.params:
        if ctx.params.get(parameter.name) != Path():
            continue
        options = [name for name in parameter.opts if name.startswith("-")]
        before = [words[index - 1] for index, word in enumerate(words) if index and not word]
        if options:
            empty = any(f"{name}=" in words or name in before for name in options)
        else:
            positional = words[:1] == [""] or any(not word.startswith("-") for word in before)
            empty = positional and not {".", "./"} & set(words)
        if empty:
            path_of("", options[0] if options else str(parameter.name))


def verdict(error: BaseException) -> tuple[int, str, str]:
    """Exit code, message and hint of an error that ended a command."""
    match error:
        case OgptError() as known:
            code = FAILED
            if isinstance(known, KeyboardInterrupt):
                code = INTERRUPTED
            elif isinstance(known, ConfigError | SamplingError):
                code = MISUSED
            return code, str(known), known.hint
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted", "run the command again"
        case MemoryError():
            return (
                FAILED,
                f"out of memory: {error}",
                "use a smaller model, batch or number of threads",
            )
        case _:
            return (
                FAILED,
                f"unexpected {type(error).__name__}: {error}",
                "run `ogpt --debug ...` to see where it happens, and report it",
            )
