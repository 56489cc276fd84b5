"""`ogpt train-tokenizer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ogpt.cli.command import reporter
from ogpt.cli.common_options import Data, Encoding, More, TextField, sources


def train_tokenizer(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the tokenizer.")],
    more: More = None,
    vocab_size: Annotated[
        int, typer.Option(help="Number of vocabulary entries, characters included.")
    ] = 40_000,
    pre_tokenizer: Annotated[
        str,
        typer.Option(
            help="How text is split: into words by bert, openai or hf-spacy, or into bytes, which "
            "keep case, white space and any script."
        ),
    ] = "bert",
    encoding: Encoding = "utf-8",
    text_field: TextField = "text",
) -> None:
    """Train a BPE tokenizer on text."""
    import ogpt
    from ogpt.tokens.tokenizer import as_pre_tokenizer

    ogpt.train_tokenizer(
        sources(data, more),
        vocab_size,
        out,
        pre_tokenizer=as_pre_tokenizer(pre_tokenizer),
        encoding=encoding,
        text_field=text_field,
        reporter=reporter(),
    )
