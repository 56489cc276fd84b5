"""Which arrays of a file become a model's weights, and a report of what does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ogpt.errors import WeightsError
from ogpt.notices import tell
from ogpt.weights.arrays import Array
from ogpt.weights.names import stored_names, unused_names

HEADS = ("lm_head.", "multiple_choice_head.", "score.")
"""Weights that a checkpoint may lack, or have although the model does not: those of heads."""

_TIED_HEAD = "lm_head.weight"
_BLOCK = re.compile(r"\bh\.(\d{1,9})\.")


@dataclass(frozen=True)
class LoadReport:
    """Differences between the weights of a file and those of the model."""

    new: list[str] = field(default_factory=list)
    """Weights that the file lacks: initialized as in a new model."""
    unused: list[str] = field(default_factory=list)
    """Weights of the file that the model lacks."""
    copied: list[str] = field(default_factory=list)
    """An untied head that the file lacks: it starts as a copy of the token embedding."""
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    """Weights of another shape, initialized as in a new model: name, shape in the file and in the
    model."""

    def __str__(self) -> str:
        parts = []
        if self.new:
            parts.append(f"randomly initialized, needs training: {', '.join(self.new)}")
        if self.copied:
            parts.append(f"copied from the token embedding: {', '.join(self.copied)}")
        if self.mismatched:
            odd = (f"{name} {stored} for {wanted}" for name, stored, wanted in self.mismatched)
            parts.append(f"of another shape, so randomly initialized: {', '.join(odd)}")
        if self.unused:
            parts.append(f"in the file but not in the model: {', '.join(self.unused)}")
        return "; ".join(parts)

    def as_loading_info(self) -> dict[str, Any]:
        """The report under the keys of transformers' `output_loading_info`."""
        return {
            "missing_keys": [*self.new, *self.copied],
            "unexpected_keys": self.unused,
            "mismatched_keys": self.mismatched,
            "error_msgs": [],
        }


def match_to_model(
    arrays: Mapping[str, Array], wanted: Iterable[str]
) -> tuple[dict[str, str], LoadReport]:
    """Find the array of each weight.

    Args:
        arrays: Those of a file.
        wanted: Names of the model's weights, tied ones once.

    Returns:
        Name of a weight -> name of its array; and the report, in which `mismatched` is empty.

    Raises:
        WeightsError: weights of the transformer are missing.
    """
    homes = stored_names(arrays, wanted)
    unused = unused_names(arrays, homes)
    if _TIED_HEAD in unused and _is_copy(arrays, homes):
        unused.remove(_TIED_HEAD)
    new = [name for name in wanted if name not in homes]
    inside = [name for name in new if not name.startswith(HEADS)]
    if inside:
        raise WeightsError(
            f"the weights do not fit: missing {_some(inside)}; unused {_some(unused)}",
            hint="check that config.json and the weights file belong together",
        )
    stands_in = not homes.get(_TIED_HEAD, _TIED_HEAD).endswith(_TIED_HEAD)
    return homes, LoadReport(new, unused, [_TIED_HEAD] if stands_in else [])


def fits(
    report: LoadReport,
    name: str,
    stored: tuple[int, ...],
    wanted: tuple[int, ...],
    ignore_mismatched_sizes: bool,
) -> bool:
    """Whether an array has the shape of its weight; if not, the report records it.

    Raises:
        WeightsError: it has not, and `ignore_mismatched_sizes` is False.
    """
    if stored == wanted:
        return True
    if not ignore_mismatched_sizes:
        raise WeightsError(
            f"{name} has shape {stored}; allowed: {wanted}, as configured",
            hint="check that config.json and the weights file belong together, or pass "
            "ignore_mismatched_sizes=True to reinitialize it",
        )
    report.mismatched.append((name, stored, wanted))
    return False


def check_depth(names: Iterable[str], n_layer: int) -> None:
    """Check the number of blocks before any is built: config.json may ask for millions.

    Raises:
        WeightsError: fewer blocks are stored than the configuration asks for.
    """
    depth = max((int(found[1]) + 1 for name in names if (found := _BLOCK.search(name))), default=0)
    if depth < n_layer:
        raise WeightsError(
            f"the weights do not fit: {depth} of the configuration's {n_layer} blocks are stored",
            hint="check that config.json and the weights file belong together",
        )


def warn_report(report: LoadReport, name: str) -> None:
    """Emit one notice with a report that is not empty."""
    if str(report):
        tell("weights-not-from-file", name=name, report=report)


def not_numbers(name: str, dtype: object) -> WeightsError:
    """The error for an array of integers."""
    return WeightsError(
        f"{name} is of {dtype}; allowed: floating-point numbers",
        hint="use the native decoder for a quantized folder",
    )


def not_finite(name: str, count: int) -> WeightsError:
    """The error for an array in which `count` numbers are NaN or infinite."""
    return WeightsError(
        f"{name} holds {count} numbers that are NaN or infinite; allowed: finite numbers",
        hint="use another checkpoint: its training diverged, or the file is damaged",
    )


def _is_copy(arrays: Mapping[str, Array], homes: Mapping[str, str]) -> bool:
    """Whether a file's unused head equals its embedding, as in many files of tied models."""
    # the file has an embedding: otherwise the head would have been used for it
    embedding = next(homes[name] for name in homes if name.endswith("tokens_embed.weight"))
    one, other = arrays[embedding].data, arrays[_TIED_HEAD].data
    if one.shape != other.shape:
        return False
    parts = range(0, len(one), 1024)  # in parts: a comparison of all allocates V x C booleans
    return all(np.array_equal(one[at : at + 1024], other[at : at + 1024]) for at in parts)


def _some(names: list[str], most: int = 6) -> str:
    """The first few names of many."""
    if not names:
        return "none"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
