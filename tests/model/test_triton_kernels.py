"""Our kernels are what torch's operators are: on a device, or under Triton's interpreter."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ogpt.model.cuda.static_step import (
    StepRows,
    new_cache,
    pass_of_rows,
    product,
    remember_rows,
    torch_kernels,
)
from ogpt.model.cuda.static_step import attend_rows as attend
from ogpt.model.cuda.static_weights import Linear, Norm, gather_weights, round_rows
from tests.model.parity import gap, random_model

HELD = [(3, 100, 2, 12, 5), (2, 512, 3, 64, 4), (1, 1, 1, 1, 1), (4, 65, 2, 5, 70)]
"""(slots, positions, n_head, head_dim, rows)."""
PRODUCTS = [(1, 768, 100), (5, 33, 17), (16, 1100, 7), (20, 300, 64), (64, 128, 40), (65, 128, 40)]
"""(rows, in, out); the last has too many rows for the kernel."""


def compare(device: str) -> None:
    """Each kernel, and passes made of them, beside torch on a CPU."""
    compare_attention(device)
    compare_products(device)
    compare_norms(device)
    compare_summaries(device)
    compare_passes(device)


def compare_attention(device: str) -> None:
    from ogpt.model.cuda import triton_kernels

    draw = torch.Generator().manual_seed(0)
    for dtype, limit in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2)):
        for slots, P, n_head, head_dim, R in HELD:
            C = n_head * head_dim
            held = torch.randn(slots, P, 2, n_head, head_dim, generator=draw).to(dtype)
            mixed = torch.randn(R, 3 * C, generator=draw).to(dtype)
            query = mixed[:, :C]
            slot = torch.randint(0, slots, (R,), generator=draw)
            position = torch.randint(0, P, (R,), generator=draw)
            expected = attend(query, held, StepRows(slot, slot, position))
            given = [tensor.to(device) for tensor in (query, held, slot, position)]
            found = triton_kernels.attend_rows(*given).cpu()
            assert gap(found, expected) < limit
            moved = triton_kernels.attend_rows(*given[:3], (given[3] - 1).clamp(min=0)).cpu()
            assert P == 1 or gap(moved, expected) > 2 * limit
            few = torch.arange(min(R, slots))  # no place is written twice
            rows = StepRows(few, few, position[: len(few)])
            kept = held.to(device, copy=True)
            remembered = [each.to(device) for each in (mixed[: len(few), C:], *rows[1:])]
            triton_kernels.remember(remembered[0], kept, *remembered[1:])
            remember_rows(mixed[: len(few), C:], held, rows)
            assert torch.equal(kept.cpu(), held)


def compare_products(device: str) -> None:
    from ogpt.model.cuda import triton_kernels
    from ogpt.model.cuda.triton_kernels import few_rows_product

    draw = torch.Generator().manual_seed(0)
    for R, inner, outer in PRODUCTS:
        x = torch.randn(R, inner, generator=draw)
        weight = torch.randn(outer, inner, generator=draw) / inner**0.5
        steps, scale = round_rows(weight)
        bias = torch.randn(outer, generator=draw)
        for layer in (Linear(weight, bias), Linear(steps, bias, scale), Linear(weight, None)):
            expected = product(x, layer)
            there = Linear(*(each if each is None else each.to(device) for each in layer))
            if triton_kernels.MOST_ROWS < R:
                assert gap(product(x.to(device), there).cpu(), expected) < 1e-4
                continue
            found = few_rows_product(x.to(device), there, torch.float32)
            assert gap(found[0].cpu(), expected) < 1e-4
            found = few_rows_product(x.to(device), there, torch.float32, gelu=True)
            assert gap(found[0].cpu(), F.gelu(expected, approximate="tanh")) < 1e-4
            parts = few_rows_product(x.to(device), there, torch.float32, in_parts=True).cpu()
            assert (len(parts) > 1) == (inner > 256 or (R > 16 and inner > 128))
            whole = parts.sum(0) if layer.bias is None else parts.sum(0) + bias
            assert gap(whole, expected) < 1e-4
            if len(parts) > 1:
                assert gap(whole - parts[-1], expected) > 1e-2
        if device != "cuda":
            continue  # the interpreter multiplies the bits of bfloat16
        half = Linear(weight.bfloat16(), bias.bfloat16())
        expected = product(x.bfloat16(), half).float()
        there = Linear(half.weight.to(device), bias.bfloat16().to(device))
        if R <= triton_kernels.MOST_ROWS:
            found = few_rows_product(x.bfloat16().to(device), there, torch.bfloat16)[0]
            assert gap(found.float().cpu(), expected) < 2e-2


def compare_norms(device: str) -> None:
    from ogpt.model.cuda import triton_kernels

    draw = torch.Generator().manual_seed(0)
    for R, C in ((1, 768), (3, 48), (5, 1), (70, 100)):
        x, y, z = torch.randn(3, R, C, generator=draw)
        bias, gain, shift = torch.randn(3, C, generator=draw)
        given = [each.to(device) for each in (x, torch.stack([y, z]), bias, gain, shift)]
        norm = Norm(*given[3:])
        found = triton_kernels.add_norm(*given[:3], norm, 1e-5).cpu()
        assert gap(found, F.layer_norm(x + y + z + bias, (C,), gain, shift, 1e-5)) < 1e-5
        found = triton_kernels.add_norm(given[0], None, None, norm, 1e-5).cpu()
        assert gap(found, F.layer_norm(x, (C,), gain, shift, 1e-5)) < 1e-5
        found = triton_kernels.add_norm(given[0], None, None, norm, 1.0).cpu()
        assert C == 1 or gap(found, F.layer_norm(x, (C,), gain, shift, 1e-5)) > 1e-3


def compare_summaries(device: str) -> None:
    from ogpt.model.cuda import triton_kernels

    draw = torch.Generator().manual_seed(0)
    for R, V in ((1, 5000), (3, 17), (2, 2048), (1, 1)):
        logits = 9 * torch.randn(R, V, generator=draw)
        logits[0, V // 2 :] = logits[0].max()  # the lowest of equals wins
        logits[-1, : V // 3] = -torch.inf
        top, best, log_sum = (each.cpu() for each in triton_kernels.summarize(logits.to(device)))
        assert torch.equal(top, logits.max(1).values)
        assert torch.equal(best, logits.argmax(1))
        assert gap(log_sum, logits.logsumexp(1)) < 1e-5
        for wrong in (torch.nan, torch.inf):
            logits[0, V // 2] = wrong
            assert triton_kernels.summarize(logits.to(device))[2][0].isnan()


def compare_passes(device: str) -> None:
    from ogpt.model.cuda.fused_step import fused_kernels

    draw = torch.Generator().manual_seed(0)
    sizes: dict[str, Any] = {"n_positions": 9, "vocab_size": 31, "n_embd": 48, "n_head": 3}
    # on a CPU no product applies the tanh GELU, so a batch of many rows uses another path
    for R, precision, change in (
        (5, "float32", {}),
        (5, "float32", {"afn": "silu"}),
        (5, "int8", {}),
        (30, "float32", {} if device == "cuda" else {"afn": "relu"}),
        (30, "int8", {}),
        (80, "int8", {"afn": "relu"}),
    ):
        if precision == "int8" and device != "cuda":
            continue  # it is computed in bfloat16
        model = random_model(1, **sizes, **change)
        here, there = (gather_weights(model.to(place), precision) for place in ("cpu", device))
        cache = new_cache(here, R)
        cache.normal_(generator=draw)
        slots = torch.randperm(R, generator=draw)
        high = torch.tensor([[31], [9]])
        ids, positions = (torch.rand(2, R, generator=draw) * high).long()
        rows = StepRows(ids, slots, positions)
        expected = pass_of_rows(here, cache.clone(), rows, torch_kernels())
        on_device = StepRows(*(each.to(device) for each in rows))
        found = pass_of_rows(there, cache.to(device), on_device, fused_kernels()).cpu()
        limit = 1e-4 if precision == "float32" else 5e-2
        assert gap(found.float(), expected.float()) < limit
        moved = on_device._replace(ids=(on_device.ids + 1) % 31)
        other = pass_of_rows(there, cache.to(device), moved, fused_kernels()).cpu()
        assert gap(other.float(), expected.float()) > 2 * limit


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
