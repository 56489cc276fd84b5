"""Prompt lookup decoding with the native decoder, on and off, batch 1, at GPT-1's shape.

Random weights generate three kinds of text. Greedy text falls into a loop, like repetitive text of
a trained model (code, tables, quotations of the prompt): every draft is right. Text sampled from a
few tokens repeats by chance: drafts are often wrong. Text sampled at a high temperature never
repeats: only the cost of the lookup shows. Both contenders generate the same tokens.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks.measuring import Result, Table, arguments, interleave, rates, save, spread, timed
from benchmarks.training_step import GPT1, SMOKE
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.searching.sampling import search
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.tensors import array_of

DTYPES = ("int8", "int4")
PROMPT = 32
KINDS: dict[str, dict[str, Any]] = {
    "in a loop": {"do_sample": False},
    "by chance": {"top_k": 4, "seed": 1},
    "never": {"temperature": 9.0, "seed": 1},
}
OFF = 0
MOST_LOST = 0.05


def prompt(vocab_size: int) -> list[int]:
    """A prompt in which no token occurs twice."""
    return [7 * place % vocab_size for place in range(1, PROMPT + 1)]


def writer(
    decoder: NativeDecoder, settings: GenerationSettings, written: dict[str, list[int]], name: str
) -> Callable[[], float]:
    """A function that generates one text, keeps its tokens in `written` and returns the seconds."""

    def write() -> None:
        tokens = search(decoder, [prompt(decoder.vocab_size)], settings)
        written[name] = [token.id for token in tokens]

    return lambda: timed(write)


def main() -> None:
    given = arguments(__doc__, 7, new_tokens=256)
    shape = {**SMOKE, "n_positions": 128} if given.smoke else GPT1
    new = 24 if given.smoke else given.new_tokens
    torch.manual_seed(0)
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**shape))
    arrays = {name: array_of(tensor) for name, tensor in model.stored_tensors().items()}
    contenders: dict[str, Callable[[], float]] = {}
    written: dict[str, list[int]] = {}
    for dtype in DTYPES:
        decoder = NativeDecoder(model.config, arrays, dtype=dtype, threads=given.threads)
        for kind, how in KINDS.items():
            on = GenerationSettings(max_new_tokens=new, **how)
            for state, settings in (
                ("on", on),
                ("off", replace(on, prompt_lookup_num_tokens=OFF)),
            ):
                name = f"{dtype}, repeats {kind}, {state}"
                contenders[name] = writer(decoder, settings, written, name)
    for contender in contenders.values():
        contender()  # the first run allocates memory
    samples = interleave(contenders, given.rounds)
    settings = {"shape": shape, "prompt": PROMPT, "new_tokens": new}
    result = Result("speculation", "Prompt lookup decoding", settings, samples)
    rows = [[name, spread(rates(new, seconds), 1)] for name, seconds in samples.items()]
    result.tables.append(Table(["native, batch 1", "tokens/s, median (lowest to highest)"], rows))
    for dtype in DTYPES:
        for kind in KINDS:
            name = f"{dtype}, repeats {kind}"
            if written[f"{name}, on"] != written[f"{name}, off"]:
                raise SystemExit(f"{name}: prompt lookup changed the text")
            found = result.compare(f"{name}, on", f"{name}, off")
            least = 1.5 if kind == "in a loop" else 1 - MOST_LOST
            result.target(f"times as fast, {name}", found, at_least=least)
    result.add_pairs()
    result.figures = {
        "distinct_ids": {name: len(set(ids)) for name, ids in written.items()},
        "worst_median": min(statistics.median(pairs) for pairs in result.pairs.values()),
    }
    result.notes.append(
        f"All texts are the same with and without. The worst median speed ratio is "
        f"{result.figures['worst_median']:.3f}."
    )
    save(result, given)


if __name__ == "__main__":
    main()
