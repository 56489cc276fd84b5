"""Turn named arrays into a model's weights, one at a time, and report what does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ogpt.config.fields import DTYPES
from ogpt.errors import ConfigError, WeightsError
from ogpt.model.tensors import tensor_of
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


def as_dtype(given: torch.dtype | str | None) -> torch.dtype | None:
    """A floating-point dtype by its name; None for None and "auto", which mean: as stored.

    Raises:
        ConfigError: another dtype.
    """
    if given is None or given == "auto":
        return None
    name = str(given).removeprefix("torch.")
    found = getattr(torch, name, None)
    if name not in DTYPES or not isinstance(found, torch.dtype):
        raise ConfigError(
            f"dtype is {given!r}; allowed: float32, bfloat16, float16, float64, auto",
            hint="use auto to keep the dtype of the file",
        )
    return found


def as_device(given: object) -> torch.device | str:
    """A device or device_map as one device; "auto": the accelerator if there is one.

    Raises:
        ConfigError: several devices, or one that torch does not know or find.
    """
    if isinstance(given, Mapping) and list(given) == [""]:
        given = given[""]
    if given == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or "cpu"
    if isinstance(given, int):
        given = f"cuda:{given}"
    if isinstance(given, str | torch.device):
        try:
            device = torch.device(given)
        except RuntimeError as error:
            raise ConfigError(
                f"device is {given!r}; allowed: cpu, cuda, cuda:0, auto, ...",
                hint="use auto for the accelerator if there is one, else the CPU",
            ) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                f"device is {str(given)!r}; this machine has no CUDA device",
                hint="use 'cpu', or 'auto' for the best device",
            )
        return device
    raise ConfigError(
        f"device_map is {given!r}; allowed: one device, its name or number, or auto",
        hint="use 'cuda' or 'cpu': a GPT-1 fits on one device",
    )


def load_weights(
    model: nn.Module,
    wanted: Mapping[str, Tensor],
    arrays: Mapping[str, Array],
    *,
    dtype: torch.dtype | None,
    device: torch.device | str,
    ignore_mismatched_sizes: bool = False,
) -> LoadReport:
    """Replace a model's weights, which are on the meta device, by arrays, one after the other.

    Weights that the file lacks stay on the meta device.

    Args:
        model: Built on the meta device, so that it takes no memory beside the arrays.
        wanted: Its weights by name, tied ones once.
        arrays: Those of the file.
        dtype: Weight dtype; None: as stored.
        device: Device of the weights.
        ignore_mismatched_sizes: Treat weights of another shape as missing.

    Raises:
        WeightsError: weights of the transformer are missing, a shape does not fit, or a weight is
            not a finite number.
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
    mismatched = []
    state = {}
    for name, home in homes.items():
        tensor = tensor_of(arrays[home])
        shape = tuple(wanted[name].shape)
        if tuple(tensor.shape) != shape:
            if not ignore_mismatched_sizes:
                raise WeightsError(
                    f"{name} has shape {tuple(tensor.shape)}; allowed: {shape}, as configured",
                    hint="check that config.json and the weights file belong together, or pass "
                    "ignore_mismatched_sizes=True to reinitialize it",
                )
            mismatched.append((name, tuple(tensor.shape), shape))
            continue
        _check_numbers(name, tensor)
        state[name] = tensor.to(device=device, dtype=dtype)
    kinds = {tensor.dtype for tensor in state.values()}
    if len(kinds) > 1:  # a file may store its norms wider; a model computes in one dtype
        widest = reduce(torch.promote_types, kinds)
        state = {name: tensor.to(widest) for name, tensor in state.items()}
    model.load_state_dict(state, assign=True, strict=False)
    stands_in = not homes.get(_TIED_HEAD, _TIED_HEAD).endswith(_TIED_HEAD)
    copied = [_TIED_HEAD] if stands_in else []
    return LoadReport(new, unused, copied, mismatched)


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


def _is_copy(arrays: Mapping[str, Array], homes: Mapping[str, str]) -> bool:
    """Whether a file's unused head equals its embedding, as in many files of tied models."""
    # the file has an embedding: otherwise the head would have been used for it
    embedding = next(homes[name] for name in homes if name.endswith("tokens_embed.weight"))
    one, other = arrays[embedding].data, arrays[_TIED_HEAD].data
    if one.shape != other.shape:
        return False
    parts = range(0, len(one), 1024)  # in parts: a comparison of all allocates V x C booleans
    return all(np.array_equal(one[at : at + 1024], other[at : at + 1024]) for at in parts)


def _check_numbers(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise WeightsError(
            f"{name} is of {tensor.dtype}; allowed: floating-point numbers",
            hint="use the native decoder for a quantized folder",
        )
    # minimum and maximum are NaN if any number is, and need no memory, unlike isfinite
    if tensor.numel() and not torch.isfinite(torch.stack(torch.aminmax(tensor))).all():
        count = int((~torch.isfinite(tensor)).sum())
        raise WeightsError(
            f"{name} holds {count} numbers that are NaN or infinite; allowed: finite numbers",
            hint="use another checkpoint: its training diverged, or the file is damaged",
        )


def _some(names: list[str], most: int = 6) -> str:
    """The first few names of many."""
    if not names:
        return "none"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
