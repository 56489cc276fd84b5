"""Turn named arrays into a model's weights, one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from ogpt.config.fields import DTYPES
from ogpt.errors import ConfigError
from ogpt.model.tensors import tensor_of
from ogpt.weights.arrays import Array
from ogpt.weights.load_report import LoadReport, fits, match_to_model, not_finite, not_numbers


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
    homes, report = match_to_model(arrays, wanted)
    state = {}
    for name, home in homes.items():
        tensor = tensor_of(arrays[home])
        shape = tuple(wanted[name].shape)
        if fits(report, name, tuple(tensor.shape), shape, ignore_mismatched_sizes):
            _check_numbers(name, tensor)
            state[name] = tensor.to(device=device, dtype=dtype)
    kinds = {tensor.dtype for tensor in state.values()}
    if len(kinds) > 1:  # a file may store its norms wider; a model computes in one dtype
        widest = reduce(torch.promote_types, kinds)
        state = {name: tensor.to(widest) for name, tensor in state.items()}
    model.load_state_dict(state, assign=True, strict=False)
    return report


def _check_numbers(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise not_numbers(name, tensor.dtype)
    # minimum and maximum are NaN if any number is, and need no memory, unlike isfinite
    if tensor.numel() and not torch.isfinite(torch.stack(torch.aminmax(tensor))).all():
        raise not_finite(name, int((~torch.isfinite(tensor)).sum()))
