"""`ogpt documents export` and `ogpt documents import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ogpt.cli.command import reporter


def documents(
    action: Annotated[
        Literal["export", "import"],
        typer.Argument(help="export writes all documents to FILE; import adds those of FILE."),
    ],
    file: Annotated[Path, typer.Argument(help="JSON Lines.")],
    where: Annotated[
        str | None,
        typer.Option(
            "--documents",
            metavar="PATH|URL",
            show_default="a file in your data folder",
            help="Where the server keeps them, as it prints when it starts.",
        ),
    ] = None,
) -> None:
    """Back up the documents of a server, or restore them."""
    import ogpt

    if action == "export":
        count = ogpt.export_documents(file, where)
        text = f"{count} documents written to {file}"
    else:
        added, present = ogpt.import_documents(file, where)
        text = f"{added} documents imported"
        if present:
            text += f"; {present} were there already, and are unchanged"
    reporter()("message", text=text)
