"""`ogpt serve`: its options are the fields of ServerSettings and DecoderOptions."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from ogpt.cli.command import reporter
from ogpt.cli.common_options import Model
from ogpt.cli.field_options import with_field_options
from ogpt.config.described import descriptions
from ogpt.decoding.options import DecoderOptions
from ogpt.errors import ConfigError
from ogpt.serving.server_settings import ADDRESS, ServerSettings


@with_field_options(ServerSettings, DecoderOptions)
def serve(
    model: Model,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME=MODEL", help="Serve this model too; repeatable."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="OGPT_API_KEY",
            help=descriptions(ServerSettings)["api_key"].help,
            rich_help_panel=ADDRESS,
        ),
    ] = None,
    **named: Any,
) -> None:
    """Serve models over HTTP, in the shapes of OpenAI's API."""
    import ogpt

    if api_key is None and "OGPT_API_KEY" in os.environ:  # whoever set it wanted a key
        raise ConfigError(
            "OGPT_API_KEY is empty; allowed: a key of one character or more",
            hint="set it to a key, or unset it to serve without one",
        )

    show = reporter()
    ogpt.serve(
        model,
        models=parse_models(models or []),
        api_key=api_key,
        reporter=show,
        on_start=lambda url: show("message", text=f"serving at {url} (Ctrl-C stops it)"),
        **named,
    )


def parse_models(pairs: list[str]) -> dict[str, str]:
    """Models by name, from `NAME=MODEL`.

    Raises:
        ConfigError: no name, no model, or a name given twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, model = pair.partition("=")
        if not name or not model or name in found:
            raise ConfigError(
                f"--model is {pair!r}; allowed: a new name, = and a model",
                hint="pass for example --model stories=runs/stories",
            )
        found[name] = model
    return found
