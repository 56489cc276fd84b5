"""Our kernels are what torch's operators are: on a device, or under Triton's interpreter."""

import os
import subprocess
import sys

import pytest
import torch

from ogpt.model.static_step import Rows, attend_rows
from ogpt.model.static_weights import Linear, product, round_rows
from tests.model.parity import gap

HELD = [(3, 100, 2, 12, 5), (2, 512, 3, 64, 4), (1, 1, 1, 1, 1), (4, 65, 2, 5, 70)]
"""(slots, positions, n_head, head_dim, rows)."""
PRODUCTS = [(1, 768, 100), (5, 33, 17), (20, 300, 64), (64, 128, 40), (65, 128, 40)]
"""(rows, in, out); the last has too many rows for the kernel."""


def compare(device: str) -> None:
    """Attention and int8 products by our kernels, and by torch on a CPU."""
    from ogpt.model import triton_kernels

    draw = torch.Generator().manual_seed(0)
    for dtype, limit in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
        for slots, P, n_head, head_dim, R in HELD:
            C = n_head * head_dim
            held = torch.randn(slots, P, 2, n_head, head_dim, generator=draw).to(dtype)
            query = torch.randn(R, 3 * C, generator=draw).to(dtype)[:, :C]
            slot = torch.randint(0, slots, (R,), generator=draw)
            position = torch.randint(0, P, (R,), generator=draw)
            expected = attend_rows(query, held, Rows(slot, slot, position))
            given = [tensor.to(device) for tensor in (query, held, slot, position)]
            found = triton_kernels.attend_rows(*given).cpu()
            assert gap(found, expected) < limit
            moved = triton_kernels.attend_rows(*given[:3], (given[3] - 1).clamp(min=0)).cpu()
            assert P == 1 or gap(moved, expected) > 2 * limit
    for R, inner, outer in PRODUCTS:
        x = torch.randn(R, inner, generator=draw)
        steps, scale = round_rows(torch.randn(outer, inner, generator=draw))
        bias = torch.randn(outer, generator=draw)
        expected = product(x, Linear(steps, bias, scale))
        if device == "cuda":
            layer = Linear(*(tensor.to(device) for tensor in (steps, bias, scale)))
            found = product(x.to(device), layer).cpu()
        elif triton_kernels.MOST_ROWS >= R:
            found = triton_kernels.rounded_product(x, steps, scale, bias)
        else:
            continue
        assert gap(found, expected) < 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_device() -> None:
    compare("cuda")


def test_under_the_interpreter() -> None:
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import compare; compare('cpu')"],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
