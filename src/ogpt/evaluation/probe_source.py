"""Where the sets of the zero-shot probes are; the command line is built from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ogpt.config.described import Option, described, keep_fields, with_field_docs
from ogpt.config.ranges import FileName, Whole
from ogpt.errors import ConfigError

_PROBES = "Zero-shot probes"
"""Heading of these options in `--help`."""


@with_field_docs
@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSource:
    """A folder with sets of the paper's zero-shot probes, and how many rows of each to use.

    Raises:
        ConfigError: a value outside its range.
    """

    probes: Path | None = described(
        None,
        "Folder with CoLA, SST-2, RACE, DPRD or Winograd, anywhere below it (paper, figure 2).",
        FileName(),
        "pass a folder",
        Option(panel=_PROBES, metavar="DIR"),
    )
    probe_rows: int = described(
        0,
        "Rows of each set to use, chosen with a fixed seed; 0 uses all.",
        Whole(),
        "omit it to use all rows",
        Option(panel=_PROBES),
    )

    def __post_init__(self) -> None:
        keep_fields(self, ConfigError)
