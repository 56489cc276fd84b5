"""Greedy decoding on a CUDA device, batch 1 and 256: ogpt beside transformers' GPT-2.

GPT-1's shape with random weights, prompts of 32 tokens and 256 new tokens, in bfloat16.
transformers has no KV cache for GPT-1, so its GPT-2 of the same shape runs, with a static cache
under torch.compile. The floor of a step is reading all weights and the KV cache once, at the read
bandwidth measured in each round.
"""

from __future__ import annotations

import copy
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.contenders import fill
from benchmarks.measuring import Result, Table, agreeing, arguments, interleave, rates, save, spread
from benchmarks.training_step import GPT1, SMOKE
from ogpt.config.model import OpenAIGPTConfig
from ogpt.generation.protocol.decoder import Draw, Part
from ogpt.model.cuda.static_decoder import StaticDecoder
from ogpt.model.heads import OpenAIGPTLMHeadModel

PROMPT = 32
BATCHES = (1, 256)
TIMES_TRANSFORMERS, OF_THE_FLOOR = 3.0, 0.6
PEER = "transformers GPT-2"
OURS: dict[str, dict[str, Any]] = {
    "ogpt": {},
    "ogpt deterministic": {"deterministic": True},
    "ogpt int8": {"precision": "int8"},
}
BY_STEP = "ogpt, step by step"
BANDWIDTH = "bandwidth"


class Run(NamedTuple):
    """One batch of continuations."""

    ids: np.ndarray
    """(new, B)."""
    read: float
    """Seconds to the first tokens (prefill included); 0 if unknown."""
    whole: float
    """Seconds in total, until the ids are on the host."""


def prompts(shape: dict[str, int], batch: int) -> np.ndarray:
    """Random ids (B, PROMPT), the same for all contenders."""
    return np.random.default_rng(0).integers(shape["vocab_size"], size=(batch, PROMPT))


@functools.cache
def filled(shape: tuple[tuple[str, int], ...]) -> OpenAIGPTLMHeadModel:
    """A model with random weights, shared by all of ogpt's contenders."""
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**dict(shape)))
    fill(model)
    return model


def ours(
    shape: dict[str, int], batch: int, new: int, device: str, options: dict[str, Any], name: str
) -> Callable[[], Run]:
    """The CUDA decoder of ogpt: one prompt after another, then steps."""
    model = copy.deepcopy(filled(tuple(shape.items())))
    kind = torch.float32 if options.get("precision") == "int8" else torch.bfloat16
    decoder = StaticDecoder(model.eval().to(device=device, dtype=kind), batch, **options)
    given, slots = prompts(shape, batch).tolist(), list(range(batch))
    draws, numbers = [Draw()] * batch, np.zeros((new - 1, batch))

    def run() -> Run:
        begin = time.perf_counter()
        for slot in slots:
            decoder.free(slot)
        first = [int(decoder.run([Part(slot, given[slot])]).logits.argmax()) for slot in slots]
        read = time.perf_counter() - begin
        if name == BY_STEP:
            ids = [np.array(first)]
            while len(ids) < new:
                parts = [Part(slot, [token]) for slot, token in enumerate(ids[-1].tolist())]
                ids.append(decoder.run(parts).logits.argmax(1))
            written = np.array(ids)
        else:
            rest = decoder.write(slots, first, draws, numbers).ids
            written = np.concatenate([[first], rest])
        return Run(written, read, time.perf_counter() - begin)

    return run


def transformers(shape: dict[str, int], batch: int, new: int, device: str) -> Callable[[], Run]:
    """The baseline: generate() of transformers, which compiles its steps if the cache is static."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    ends = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(**shape, **ends)).to(device, torch.bfloat16).eval()
    ids = torch.from_numpy(prompts(shape, batch)).to(device)
    mask = torch.ones_like(ids)

    def run() -> Run:
        begin = time.perf_counter()
        found = model.generate(
            ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=new,
            cache_implementation="static",
        )
        written = found[:, PROMPT:].T.cpu().numpy()
        return Run(written, 0.0, time.perf_counter() - begin)

    return run


def read_bandwidth(device: str) -> float:
    """Read bandwidth, bytes/s: the best of 5 sums over an array far larger than the caches."""
    numbers = torch.ones(2**30 if device == "cuda" else 2**20, device=device)
    best = np.inf
    for _ in range(5):
        begin = time.perf_counter()
        numbers.sum().item()
        best = min(best, time.perf_counter() - begin)
    return numbers.numel() * 4 / best


def bytes_of_steps(shape: dict[str, int], batch: int, steps: int, weight_bytes: int) -> int:
    """Bytes that `steps` steps after the prompt must read: the weights and the KV cache.

    Args:
        shape: Of the model.
        batch: Number of texts.
        steps: New tokens of each text.
        weight_bytes: Bytes per weight of a matrix.
    """
    C, V, layers = shape["n_embd"], shape["vocab_size"], shape["n_layer"]
    weights = (V * C + layers * 12 * C * C) * weight_bytes
    held = sum(range(PROMPT + 1, PROMPT + steps + 1))  # each step attends to its own token too
    return steps * weights + batch * held * 2 * layers * C * 2


def measure(
    shape: dict[str, int],
    batches: Sequence[int],
    new: int,
    rounds: int,
    device: str,
    title: str,
) -> Result:
    """Time all contenders in turn, one batch size after another."""
    samples: dict[str, list[float]] = {}
    figures: dict[str, Any] = {"first_run_s": {}, "steps_s": {}, "equal_ids": {}}
    result = Result("gpu_decoding", title, {}, samples, figures=figures)
    result.settings = {"shape": shape, "prompt": PROMPT, "new_tokens": new, "device": device}
    for batch in batches:
        makers = {
            name: lambda batch=batch, name=name, options=options: ours(
                shape, batch, new, device, options, name
            )
            for name, options in {**OURS, BY_STEP: {}}.items()
        }
        makers[PEER] = lambda batch=batch: transformers(shape, batch, new, device)
        contenders: dict[str, Callable[[], Any]] = {}
        for name, make in makers.items():
            contenders[name] = make()
            begin = time.perf_counter()
            contenders[name]()  # captures and compiles
            contenders[name]()
            figures["first_run_s"][f"{name}, {batch}"] = time.perf_counter() - begin
        contenders[BANDWIDTH] = lambda: read_bandwidth(device)
        _add(result, batch, new, shape, interleave(contenders, rounds))
    result.add_pairs()
    best = figures["read_bytes_per_s"]
    result.notes += [
        f"The best read bandwidth was {best / 1e9:,.0f} GB/s. The floor counts steps only, not "
        "prefill; transformers does not report the two separately.",
        "Total times include prefill: one prompt after another in ogpt, all at once in "
        "transformers.",
    ]
    return result


def _add(
    result: Result, batch: int, new: int, shape: dict[str, int], found: dict[str, list[Any]]
) -> None:
    """Add the samples, tables and targets of one batch size."""
    figures = result.figures
    best = max([*found.pop(BANDWIDTH), figures.get("read_bytes_per_s", 0.0)])
    figures["read_bytes_per_s"] = best
    rows = []
    for name, runs in found.items():
        label = f"{name}, {batch}"
        result.samples[label] = [run.whole for run in runs]
        share, step = "", ""
        if name != PEER:
            seconds = figures["steps_s"][label] = [run.whole - run.read for run in runs]
            n_bytes = bytes_of_steps(shape, batch, new - 1, 1 if name == "ogpt int8" else 2)
            reached = n_bytes / best / statistics.median(seconds)
            step = f"{1e3 * statistics.median(seconds) / (new - 1):.3f}"
            share = f"{reached:.0%}"
            figures["equal_ids"][label] = agreeing(
                found["ogpt"][0].ids[:, 0].tolist(), runs[0].ids[:, 0].tolist()
            )
            if batch > 1 and name == "ogpt":
                what = f"share of the bandwidth floor, {label}"
                result.target(what, reached, at_least=OF_THE_FLOOR)
        tokens = rates(batch * new, result.samples[label])
        rows.append([label, spread(tokens, 0), step, share])
    header = [f"batch {batch}", "total tokens/s, median (lowest to highest)", "ms/step"]
    result.tables.append(Table([*header, "steps, of the floor"], rows))
    for name in found:
        if name != PEER:
            times = result.compare(f"{name}, {batch}", f"{PEER}, {batch}")
            if batch == 1 and name == "ogpt":
                result.target(f"times {PEER}, {name}, 1", times, at_least=TIMES_TRANSFORMERS)
    result.compare(f"ogpt deterministic, {batch}", f"ogpt, {batch}")


def main() -> None:
    given = arguments(__doc__, 7, new_tokens=256)
    if not (given.smoke or torch.cuda.is_available()):
        print("gpu_decoding: skipped, as PyTorch sees no CUDA device")
        return
    save(run(given.smoke, given.rounds, given.new_tokens), given)


def run(smoke: bool, rounds: int, new: int) -> Result:
    """Full size on the device, or tiny on any machine."""
    on_device = torch.cuda.is_available()
    card = torch.cuda.get_device_name() if on_device else "no card"
    shape = {**SMOKE, "n_positions": PROMPT + 8} if smoke else GPT1
    return measure(
        shape,
        (1, 3) if smoke else BATCHES,
        8 if smoke else new,
        rounds,
        "cuda" if on_device else "cpu",
        f"Decoding on a GPU ({card})",
    )


if __name__ == "__main__":
    main()
