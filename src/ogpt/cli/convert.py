"""`ogpt convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ogpt.cli.answers import write
from ogpt.cli.command import reporter
from ogpt.cli.figures import conversion


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="Folder of Hugging Face's files (safetensors, .bin, .h5) or of OpenAI's "
            "(params_*.npy), a run, a Hub id, or a single weights file.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to create.")],
    to: Annotated[
        str,
        typer.Option(
            help="Target format: safetensors (a model folder) or openai (OpenAI's files)."
        ),
    ] = "safetensors",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Weight dtype: float32, bfloat16, float16 or float64.", show_default="as stored"
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="config.json for weights that have none beside them.")
    ] = None,
    n_head: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of attention heads of OpenAI's files.",
            show_default="n_embd / 64",
        ),
    ] = None,
    max_shard_size: Annotated[
        str, typer.Option(help="Maximum size of a weights file; larger weights are split.")
    ] = "5GB",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub id.")] = None,
) -> None:
    """Convert a checkpoint to a model folder or OpenAI's files."""
    import ogpt

    made = ogpt.convert(
        source,
        out,
        to=to,
        dtype=dtype,
        config=config,
        n_head=n_head,
        max_shard_size=max_shard_size,
        revision=revision,
        reporter=reporter(),
    )
    write("\n".join(conversion(made)))
