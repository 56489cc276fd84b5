"""Greedy decoding, batch 1: ogpt's PyTorch decoder beside transformers' OpenAIGPT.

GPT-1's shape with random weights, a prompt of 32 tokens (prefill is timed too) and 256 new tokens.
The floor is reading all weights once per token at the measured bandwidth.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.contenders import fill
from benchmarks.measuring import (
    Result,
    Table,
    agreeing,
    arguments,
    floor_seconds,
    interleave,
    rates,
    read_bandwidth,
    save,
    spread,
)
from benchmarks.training_step import GPT1, SMOKE
from ogpt.config.model import OpenAIGPTConfig
from ogpt.generation.protocol.decoder import Part
from ogpt.model.decoder.packed_weights import pack_weights
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.weights.shapes import parameter_count

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PROMPT, PART = 32, 32
TARGETS = {"float32": 6.0, "bfloat16": 4.5}


class Run(NamedTuple):
    """One continuation."""

    ids: list[int]
    times: list[float]
    """Seconds from the start to each new token."""


def ours(shape: dict[str, int], dtype: torch.dtype, device: str, new: int) -> Callable[[], Run]:
    """The PyTorch decoder of ogpt, through the decoder protocol."""
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**shape))
    fill(model)
    # packed, as in open_decoder
    decoder = TorchDecoder(pack_weights(model.eval().to(device=device, dtype=dtype)), slots=1)

    def run() -> Run:
        decoder.free(0)
        ids: list[int] = []
        times: list[float] = []
        begin = time.perf_counter()
        logits = decoder.run([Part(0, prompt(shape))]).logits
        while True:
            ids.append(int(logits.argmax()))
            times.append(time.perf_counter() - begin)
            if len(ids) == new:
                return Run(ids, times)
            logits = decoder.run([Part(0, ids[-1:])]).logits

    return run


def transformers(
    shape: dict[str, int], dtype: torch.dtype, device: str, new: int
) -> Callable[[], Run]:
    """The baseline: generate() of transformers, which has no KV cache for this model."""
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**shape))
    fill(model)
    model.to(device=device, dtype=dtype).eval()
    ids = torch.tensor([prompt(shape)], device=device)

    def run() -> Run:
        times: list[float] = []

        def note(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            times.append(time.perf_counter() - begin)
            return scores

        begin = time.perf_counter()
        written = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=new,
            logits_processor=[note],
        )[0, PROMPT:].tolist()
        times[-1] = time.perf_counter() - begin  # the whole call, as for ogpt
        return Run(written, times)

    return run


def smoke_size() -> tuple[dict[str, int], int]:
    """A tiny shape, and the fewest new tokens that the figures need."""
    return {**SMOKE, "n_positions": PROMPT + PART + 8}, PART + 8


def prompt(shape: dict[str, int]) -> list[int]:
    """Random ids, the same for all contenders."""
    return np.random.default_rng(0).integers(shape["vocab_size"], size=PROMPT).tolist()


def measure(
    shape: dict[str, int], new: int, rounds: int, device: str, name: str, title: str
) -> Result:
    """Time both contenders in turn, in both dtypes; each round measures the bandwidth too."""
    contenders = {
        f"{maker} {dtype}": make(shape, DTYPES[dtype], device, new)
        for dtype in DTYPES
        for maker, make in (("ogpt", ours), ("transformers", transformers))
    }
    sizes = {dtype: weight_bytes(shape, kind) for dtype, kind in DTYPES.items()}
    for contender in contenders.values():
        contender()  # the first run allocates memory
    bandwidths = {
        f"bandwidth {dtype}": lambda size=size: read_bandwidth(size, device)
        for dtype, size in sizes.items()
    }
    found: dict[str, list[Any]] = interleave({**contenders, **bandwidths}, rounds)
    runs = {each: found[each] for each in contenders}
    result = Result(
        name=name,
        title=title,
        settings={"shape": shape, "prompt": PROMPT, "new_tokens": new, "device": device},
        samples={each: [run.times[-1] for run in runs[each]] for each in contenders},
    )
    floors = {
        dtype: new * floor_seconds(size, max(found[f"bandwidth {dtype}"]))
        for dtype, size in sizes.items()
    }
    first, last = ({each: per_token(runs[each], end) for each in runs} for end in (False, True))
    texts = {each: runs[each][0].ids for each in runs}
    agreed = agreeing(texts["ogpt float32"], texts["transformers float32"])
    result.figures = {
        "weight_bytes": sizes,
        "cache_bytes_per_token": {
            dtype: 2 * shape["n_layer"] * shape["n_embd"] * kind.itemsize
            for dtype, kind in DTYPES.items()
        },
        "read_bytes_per_s": {dtype: found[f"bandwidth {dtype}"] for dtype in DTYPES},
        "floor_tokens_per_s": {dtype: new / floor for dtype, floor in floors.items()},
        "seconds_per_token_first": first,
        "seconds_per_token_last": last,
        "equal_ids_float32": agreed,
        "distinct_ids_float32": len(set(texts["ogpt float32"])),
    }
    _describe(result, new, floors)
    return result


def weight_bytes(shape: dict[str, int], dtype: torch.dtype) -> int:
    """Bytes of weights that one token reads: all but the position embedding."""
    positions = shape["n_positions"] * shape["n_embd"]
    return (parameter_count(OpenAIGPTConfig(**shape)) - positions) * dtype.itemsize


def per_token(runs: list[Run], at_end: bool) -> float:
    """Median seconds per token of the first PART tokens (after the prompt) or the last PART."""
    steps = [np.diff(run.times) for run in runs]
    part = slice(-PART, None) if at_end else slice(PART)
    return statistics.median(float(step) for each in steps for step in each[part])


def _describe(result: Result, new: int, floors: dict[str, float]) -> None:
    figures = result.figures
    rows = []
    for name, seconds in result.samples.items():
        share = floors[name.split()[1]] / statistics.median(seconds)
        ends = (figures[f"seconds_per_token_{end}"][name] for end in ("first", "last"))
        milliseconds = [f"{1e3 * each:.1f}" for each in ends]
        rows.append([name, spread(rates(new, seconds), 1), f"{share:.0%}", *milliseconds])
    for dtype, floor in floors.items():
        rows.append([f"floor {dtype}", f"{new / floor:.1f}", "100%", "", ""])
    header = ["batch 1", "tokens/s, median (lowest to highest)", "of the floor"]
    header += [f"ms/token, first {PART}", f"last {PART}"]
    result.tables.append(Table(header, rows))
    for dtype in DTYPES:
        result.compare(f"ogpt {dtype}", f"transformers {dtype}")
    result.add_pairs()
    sizes, cached = figures["weight_bytes"], figures["cache_bytes_per_token"]
    growth = (new - PART) * cached["float32"] / sizes["float32"]
    bandwidth = ", ".join(
        f"{max(figures['read_bytes_per_s'][dtype]) / 1e9:.1f} GB/s over {size / 1e6:,.0f} MB "
        f"({dtype})"
        for dtype, size in sizes.items()
    )
    result.notes += [
        f"The floor reads all weights once per token at the best read bandwidth: {bandwidth}.",
        f"Between the first {PART} tokens and the last {PART}, the KV cache that attention reads "
        f"grows by {growth:.1%} of the weights' bytes.",
        f"Greedy ids in float32: {figures['equal_ids_float32']} of {new} equal before the first "
        f"difference, {figures['distinct_ids_float32']} distinct.",
    ]


def main() -> None:
    given = arguments(__doc__, 5, new_tokens=256)
    torch.set_num_threads(given.threads)
    shape, new = smoke_size() if given.smoke else (GPT1, given.new_tokens)
    result = measure(shape, new, given.rounds, "cpu", "decoding", "Decoding")
    for dtype, wanted in TARGETS.items():
        found = statistics.median(result.pairs[f"ogpt {dtype} / transformers {dtype}"])
        result.target(f"times transformers, {dtype}", found, at_least=wanted)
    save(result, given)


if __name__ == "__main__":
    main()
