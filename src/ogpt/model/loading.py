"""Named arrays become a model's weights, one at a time, with a report of what did not fit."""

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
"""Weights that a checkpoint may lack or have too many of: those of another kind of model."""

_TIED_HEAD = "lm_head.weight"
_BLOCK = re.compile(r"\bh\.(\d{1,9})\.")


@dataclass(frozen=True)
class LoadReport:
    """What was not simply taken from the file."""

    new: list[str] = field(default_factory=list)
    """Weights that the file has not: drawn as for a new model."""
    unused: list[str] = field(default_factory=list)
    """Weights that the model has not."""
    copied: list[str] = field(default_factory=list)
    """Weights that the file has not: an untied head, which begins as the token embedding."""
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    """Weights of another shape, drawn as for a new model: name, shape in the file, in the model."""

    def __str__(self) -> str:
        parts = []
        if self.new:
            parts.append(f"new, to be trained: {', '.join(self.new)}")
        if self.copied:
            parts.append(f"new, equal to the token embedding: {', '.join(self.copied)}")
        if self.mismatched:
            odd = (f"{name} {stored} for {wanted}" for name, stored, wanted in self.mismatched)
            parts.append(f"of another shape, so new: {', '.join(odd)}")
        if self.unused:
            parts.append(f"in the file, not in the model: {', '.join(self.unused)}")
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
    """A dtype by its name; None and "auto": as stored.

    Raises:
        ConfigError: no floating-point dtype.
    """
    if given is None or given == "auto":
        return None
    name = str(given).removeprefix("torch.")
    found = getattr(torch, name, None)
    if name not in DTYPES or not isinstance(found, torch.dtype):
        raise ConfigError(
            f"dtype is {given!r}; allowed: float32, bfloat16, float16, float64, auto",
            hint="auto keeps the dtype of the file",
        )
    return found


def as_device(given: object) -> torch.device | str:
    """A device_map as one device; "auto": the accelerator, where there is one.

    Raises:
        ConfigError: several devices, or none that torch knows.
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
                hint="auto takes the accelerator, where there is one",
            ) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                f"device is {str(given)!r}; there is no CUDA device here",
                hint="'cpu' is always there; 'auto' takes what there is",
            )
        return device
    raise ConfigError(
        f"device_map is {given!r}; allowed: one device, its name or number, or auto",
        hint="a GPT-1 fits on one device: give 'cuda' or 'cpu'",
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
    """Put arrays in the place of a model's weights on the meta device, one after the other.

    What the file lacks stays on the meta device.

    Args:
        model: Built on the meta device.
        wanted: Its weights by name, tied ones once.
        arrays: The file's.
        dtype: Of the weights; None: as stored.
        device: Where to put them.
        ignore_mismatched_sizes: Take weights of another shape for missing.

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
            f"the weights do not fit: missing {_some(inside)}; left over {_some(unused)}",
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
                    f"{name} has shape {tuple(tensor.shape)}; the configuration asks for {shape}",
                    hint="check that config.json and the weights file belong together, or give "
                    "ignore_mismatched_sizes=True to draw it anew",
                )
            mismatched.append((name, tuple(tensor.shape), shape))
            continue
        _check_numbers(name, tensor)
        state[name] = tensor.to(device=device, dtype=dtype)
    kinds = {tensor.dtype for tensor in state.values()}
    if len(kinds) > 1:  # a file may keep its norms wider; one model computes in one dtype
        widest = reduce(torch.promote_types, kinds)
        state = {name: tensor.to(widest) for name, tensor in state.items()}
    model.load_state_dict(state, assign=True, strict=False)
    stands_in = not homes.get(_TIED_HEAD, _TIED_HEAD).endswith(_TIED_HEAD)
    copied = [_TIED_HEAD] if stands_in else []
    return LoadReport(new, unused, copied, mismatched)


def check_depth(names: Iterable[str], n_layer: int) -> None:
    """Check that there are as many blocks as the configuration says, before any is built.

    Raises:
        WeightsError: there are fewer.
    """
    depth = max((int(found[1]) + 1 for name in names if (found := _BLOCK.search(name))), default=0)
    if depth < n_layer:
        raise WeightsError(
            f"the weights do not fit: {depth} of the configuration's {n_layer} blocks are stored",
            hint="check that config.json and the weights file belong together",
        )


def tell_report(report: LoadReport, name: str) -> None:
    """Give notice of a report that has something to say, once."""
    if str(report):
        tell("weights-not-from-file", name=name, report=report)


def _is_copy(arrays: Mapping[str, Array], homes: Mapping[str, str]) -> bool:
    """Whether a file's untaken head is the embedding once more, as tied files often hold it."""
    # an untaken head has its embedding beside it, or it would stand in for that
    embedding = next(homes[name] for name in homes if name.endswith("tokens_embed.weight"))
    one, other = arrays[embedding].data, arrays[_TIED_HEAD].data
    if one.shape != other.shape:
        return False
    parts = range(0, len(one), 1024)  # a load should need little memory beyond the weights
    return all(np.array_equal(one[at : at + 1024], other[at : at + 1024]) for at in parts)


def _check_numbers(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise WeightsError(
            f"{name} is of {tensor.dtype}; allowed: floating-point numbers",
            hint="a quantised folder loads with the decoder that made it",
        )
    # extremes are NaN where a number is; unlike isfinite they need no memory of their own
    if tensor.numel() and not torch.isfinite(torch.stack(torch.aminmax(tensor))).all():
        count = int((~torch.isfinite(tensor)).sum())
        raise WeightsError(
            f"{name} holds {count} numbers that are NaN or infinite; allowed: finite numbers",
            hint="the training that made it diverged, or the file is damaged: use another one",
        )


def _some(names: list[str], most: int = 6) -> str:
    """The first few names of many."""
    if not names:
        return "none"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
