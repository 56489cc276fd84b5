"""One optimizer step at GPT-1 size: ogpt beside plain compiled PyTorch and transformers.

8 windows of 512 tokens, bf16, dropout 0.1, fused AdamW and gradient clipping at 1.0 for all. The
floor is the model's arithmetic at the rate of the best matrix multiplication of the same run.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from benchmarks.contenders import CONTENDERS, PRODUCTS, Answer, Contender, Setup
from benchmarks.measuring import (
    Result,
    Table,
    arguments,
    floor_seconds,
    interleave,
    rates,
    save,
    spread,
)
from ogpt.config.model import OpenAIGPTConfig
from ogpt.training.cost import flops_per_token

GPT1 = {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 512, "vocab_size": 40_478}
SMOKE = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 32, "vocab_size": 211}
MODELS = [name for name in CONTENDERS if name != PRODUCTS]

BF16_ROUNDING = 2.0**-8
"""Relative tolerance of losses: half the distance between adjacent bfloat16 numbers."""
NORM_TOLERANCE = 0.01
"""Relative tolerance of gradient norms: rounding causes 0.2 %, a missing mask or scale over 3 %."""


def measure(setup: Setup, rounds: int, name: str, title: str) -> Result:
    """Check that the contenders do the same work, then time them in turn."""
    checks = same_work(replace(setup, pdrop=0.0))
    with started(list(CONTENDERS), setup) as contenders:
        warm_up = {name: [each(), each()] for name, each in contenders.items()}
        for each in contenders.values():
            each.forget()
        answers = interleave(contenders, rounds)
    result = Result(
        name=name,
        title=title,
        settings=asdict(setup),
        samples={name: [answer.seconds for answer in answers[name]] for name in MODELS},
    )
    best = best_products(answers[PRODUCTS])
    flops = flops_per_token(OpenAIGPTConfig(**setup.shape), setup.shape["n_positions"])
    floor = floor_seconds(setup.tokens * flops, max(best.values()))
    result.figures = {
        "flops_per_token": flops,
        "products_flops_per_s": best,
        "floor_tokens_per_s": setup.tokens / floor,
        "peak_bytes": {name: answers[name][-1].peak_bytes for name in MODELS},
        "peak_bytes_with_warm_up": {name: warm_up[name][-1].peak_bytes for name in MODELS},
        "first_step_s": {name: warm_up[name][0].seconds for name in MODELS},
        "loss_and_gradient_norm_without_dropout": checks,
        "losses_with_dropout": {name: [a.found[0] for a in answers[name]] for name in MODELS},
    }
    _describe(result, setup, floor)
    return result


def same_work(setup: Setup) -> dict[str, list[tuple[float, float]]]:
    """Losses and gradient norms of two steps without dropout; these must agree to bf16 rounding."""
    with started(MODELS, setup) as contenders:
        found = {name: [each().found for _ in range(2)] for name, each in contenders.items()}
    for name in MODELS[1:]:
        if differ(found["ogpt"], found[name]):
            raise SystemExit(f"ogpt and {name} do not do the same work: {found}")
    return found


def differ(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> bool:
    """Whether losses or gradient norms differ by more than bfloat16 rounding."""
    pairs = [zip(mine, other, strict=True) for mine, other in zip(ours, theirs, strict=True)]
    apart = [[abs(one / other - 1) for one, other in pair] for pair in pairs]
    return any(loss > BF16_ROUNDING or norm > NORM_TOLERANCE for loss, norm in apart)


@contextmanager
def started(names: list[str], setup: Setup) -> Iterator[dict[str, Contender]]:
    """Start the contenders' processes, and end them with the block."""
    contenders = {name: Contender(name, setup) for name in names}
    try:
        yield contenders
    finally:
        for contender in contenders.values():
            contender.close()


def best_products(answers: list[Answer]) -> dict[str, float]:
    """Best rate of each matrix shape over all rounds, in operations per second."""
    return {shape: max(answer.found[shape] for answer in answers) for shape in answers[0].found}


def _describe(result: Result, setup: Setup, floor: float) -> None:
    figures: dict[str, Any] = result.figures
    rows = []
    for name in MODELS:
        seconds = result.samples[name]
        share = floor / statistics.median(seconds)
        peak = figures["peak_bytes"][name] / 2**30
        first = figures["first_step_s"][name]
        speed = spread(rates(setup.tokens, seconds), 0)
        rows.append([name, speed, f"{share:.1%}", f"{peak:.2f}", f"{first:.1f}"])
    rows.append(["floor", f"{setup.tokens / floor:,.0f}", "100.0%", "", ""])
    header = ["8 x 512", "tokens/s, median (lowest to highest)", "MFU", "peak GiB", "first step s"]
    header[0] = f"{setup.batch} x {setup.shape['n_positions']}"
    result.tables.append(Table(header, rows))
    for peer in MODELS[1:]:
        result.compare("ogpt", peer)
    result.add_pairs()
    products = figures["products_flops_per_s"].items()
    rows = [[shape, f"{found / 1e9:,.0f}"] for shape, found in products]
    result.tables.append(Table(["bf16 matrix multiplication", "best GFLOP/s"], rows))
    result.notes += [
        "ogpt and plain PyTorch are compiled." if setup.compiled else "Nothing is compiled.",
        "MFU is the share of the best of these rates. The floor is all arithmetic at that rate. "
        "Memory peaks are of the steps after the warm-up.",
        "Losses and gradient norms agree over two steps without dropout, from the same weights and "
        "batch.",
    ]


def main() -> None:
    given = arguments(__doc__, 7)
    setup = Setup(GPT1, batch=8, pdrop=0.1, threads=given.threads, compiled=True)
    if given.smoke:
        setup = replace(setup, shape=SMOKE, batch=2, compiled=False)
    result = measure(setup, given.rounds, "training_step", "Training step")
    pairs, peaks = result.pairs, result.figures["peak_bytes"]
    median = {peer: statistics.median(pairs[f"ogpt / {peer}"]) for peer in MODELS[1:]}
    result.target("times transformers", median["transformers"], at_least=4)
    result.target("times plain compiled PyTorch", median["plain PyTorch"], at_least=1.3)
    share = peaks["ogpt"] / peaks["transformers"]
    result.target("peak memory, share of transformers'", share, at_most=2 / 3)
    save(result, given)


if __name__ == "__main__":
    main()
