"""`ogpt info`."""

from __future__ import annotations

from ogpt.cli.answers import answer
from ogpt.cli.common_options import Json, Model


def info(model: Model, as_json: Json = False) -> None:
    """Show the shape, weights, tokenizer and training of a model."""
    import ogpt

    answer(ogpt.info(model), as_json=as_json)
