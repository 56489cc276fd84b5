"""`ogpt prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ogpt.cli.command import reporter
from ogpt.cli.common_options import Data, Encoding, More, TextField, Valid, sources


def prepare(
    data: Data,
    tokenizer: Annotated[Path, typer.Option(help="Folder of the tokenizer.")],
    out: Annotated[Path, typer.Option(help="Folder for the shards.")],
    more: More = None,
    valid: Valid = None,
    valid_fraction: Annotated[
        float, typer.Option(help="Fraction of the documents to hold out if --valid is omitted.")
    ] = 0.05,
    encoding: Encoding = "utf-8",
    text_field: TextField = "text",
) -> None:
    """Tokenize text into shards; finished parts are skipped."""
    import ogpt
    from ogpt.config.pretrain_settings import DataSettings

    ogpt.prepare(
        sources(data, more),
        tokenizer,
        out,
        valid=valid or (),
        settings=DataSettings(
            valid_fraction=valid_fraction, encoding=encoding, text_field=text_field
        ),
        reporter=reporter(),
    )
