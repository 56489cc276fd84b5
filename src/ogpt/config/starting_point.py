"""What a pre-training starts from beside its text; the command line is built from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ogpt.config.described import Option, described, keep_fields, with_field_docs
from ogpt.config.ranges import FileName
from ogpt.errors import ConfigError


@with_field_docs
@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPoint:
    """Tokenizer and initial weights.

    Raises:
        ConfigError: a value that is no path.
    """

    tokenizer: Path | None = described(
        None,
        "Folder of the tokenizer; without it, one is trained.",
        FileName(),
        "pass a folder",
        Option(),
    )
    init: Path | None = described(
        None,
        "Start from the weights of this model.",
        FileName(),
        "pass a model folder, a run or a Hub id",
        Option(),
    )

    def __post_init__(self) -> None:
        keep_fields(self, ConfigError)
