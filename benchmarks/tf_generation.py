"""Greedy generation in TensorFlow, batch 1: the loop that XLA compiles, and what it replaces.

GPT-1's shape with random weights in float32, a prompt of 32 tokens (prefill is timed too) and 256
new tokens. Runs in the environment of `make test-tf`; `make bench-tf` starts it. transformers 4.57,
whose TensorFlow classes have no cache, runs in the environment of `make bench-peers`, and generates
all tokens: minutes a round.

Our own eager loop without a cache processes the whole text for each token too. Only every 16th of
its steps is timed, and counts 16 times. Compilation is not timed: it is a figure of its own.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
import torch

from benchmarks.contenders import fill
from benchmarks.decoding import PROMPT, prompt
from benchmarks.measuring import (
    Result,
    Table,
    agreeing,
    arguments,
    interleave,
    rates,
    save,
    spread,
    timed,
)
from benchmarks.peers import environments
from benchmarks.peers.protocol import Setup
from benchmarks.peers.remote import Remote
from benchmarks.training_step import GPT1, SMOKE
from ogpt.config.model import OpenAIGPTConfig
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.searching.sampling import search
from ogpt.model.decoder.packed_weights import pack_weights
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.tensors import array_of
from ogpt.notices import collecting
from ogpt.tf.decoder.tensorflow_decoder import TensorFlowDecoder
from ogpt.tf.heads import TFOpenAIGPTLMHeadModel

XLA = "TensorFlow, XLA"
DECODER = "TensorFlow decoder"
EAGER = "TensorFlow, eager, no cache"
TORCH = "PyTorch decoder"
PEER = "transformers 4.57, TensorFlow, eager"
ENVIRONMENT = "transformers_tf"
EVERY = 16
"""Of so many steps of the eager loop one is timed."""


def over(decoder: Decoder, ids: list[int], new: int, written: list[list[int]]) -> float:
    """Generate through the decoder protocol; return the seconds."""
    settings = GenerationSettings(do_sample=False, max_new_tokens=new)
    return timed(lambda: written.append([token.id for token in search(decoder, [ids], settings)]))


def without_cache(model: Any, text: list[int], first: int) -> float:
    """Seconds of all steps of the eager loop, from every EVERYth of them."""

    def step(length: int) -> int:
        logits = model(np.array([text[:length]])).logits
        return int(logits[0, -1].numpy().argmax())

    return EVERY * sum(timed(lambda n=n: step(n)) for n in range(first, len(text), EVERY))


def transformers(model: Any, shape: dict[str, int], threads: int, folder: Path) -> Remote | None:
    """Start transformers with the same weights; None if its environment is missing."""
    if not environments.is_set_up(ENVIRONMENT):
        return None
    model.save_pretrained(folder, safe_serialization=False)
    python = environments.python(ENVIRONMENT)
    setup = Setup("float32", shape, threads, folder)
    return Remote(python, f"benchmarks.peers.{ENVIRONMENT}_peer", setup)


def main() -> None:
    given = arguments(__doc__, 5, new_tokens=256)
    with TemporaryDirectory() as folder:
        measure(given, Path(folder))


def measure(given: Namespace, folder: Path) -> None:
    shape = {**SMOKE, "n_positions": 64} if given.smoke else GPT1
    new = 32 if given.smoke else given.new_tokens
    torch.set_num_threads(given.threads)
    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    # transformers' TensorFlow classes compute the exact GELU, whatever `afn` says
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**shape, parity={"gelu": "erf"})).eval()
    fill(model)
    other = TFOpenAIGPTLMHeadModel(model.config)
    arrays = {name: array_of(tensor) for name, tensor in model.stored_tensors().items()}
    other.load_arrays(arrays)
    ids = prompt(shape)
    batch = np.array([ids])
    asked: dict[str, Any] = {"max_new_tokens": new, "jit_compile": True}
    written: dict[str, list[list[int]]] = {XLA: [], DECODER: [], TORCH: []}

    def compiled() -> float:
        return timed(
            lambda: written[XLA].append(other.generate(batch, **asked)[0, PROMPT:].numpy().tolist())
        )

    with collecting():  # that it compiles
        first_call = compiled()
    text = [*ids, *written[XLA][0]]
    decoders = {DECODER: TensorFlowDecoder(other, 1), TORCH: TorchDecoder(pack_weights(model), 1)}
    contenders: dict[str, Callable[[], float]] = {
        XLA: compiled,
        **{
            name: lambda name=name, each=each: over(each, ids, new, written[name])
            for name, each in decoders.items()
        },
        EAGER: lambda: without_cache(other, text, PROMPT),
    }
    for name in decoders:
        contenders[name]()  # the first run traces, and allocates memory
    peer = transformers(other, shape, given.threads, folder)
    if peer is not None:
        written[PEER] = []

        def theirs() -> float:
            answer = peer.generate([ids], new)
            equal = agreeing(answer.ids[0], written[XLA][0])
            if equal < new and not given.smoke:  # now, not after minutes
                raise SystemExit(f"{PEER} writes another text after {equal} tokens")
            written[PEER] += answer.ids
            return answer.seconds

        peer.read([ids])  # allocates memory
        contenders[PEER] = theirs
    samples = interleave(contenders, given.rounds)
    if peer is not None:
        peer.close()
    texts = {tuple(one) for each in written.values() for one in each}
    if len(texts) > 1 and not given.smoke:
        raise SystemExit("the contenders wrote different texts")
    settings = {"shape": shape, "prompt": PROMPT, "new_tokens": new}
    result = Result("tf_generation", "Generation in TensorFlow", settings, samples)
    rows = [[name, spread(rates(new, seconds), 1)] for name, seconds in samples.items()]
    result.tables.append(Table(["float32, batch 1", "tokens/s, median (lowest to highest)"], rows))
    result.compare(XLA, EAGER)
    slow = EAGER if peer is None else PEER
    result.target(f"times {slow}", result.compare(XLA, slow), at_least=5.0)
    result.target("times the PyTorch decoder", result.compare(XLA, TORCH), at_least=0.8)
    result.compare(DECODER, TORCH)
    result.add_pairs()
    result.figures = {
        "seconds_of_first_call": first_call,
        "distinct_texts": len(texts),
        "peer_versions": {} if peer is None else peer.versions,
    }
    result.notes.append(
        f"All contenders write the same text. The first call, which compiles, takes "
        f"{first_call:.0f} s. Of our eager loop, every {EVERY}th step is timed."
    )
    if peer is None:
        result.notes.append(f"Not installed (`make bench-peers`): {PEER}.")
    else:
        versions = ", ".join(f"{name} {version}" for name, version in peer.versions.items())
        result.notes.append(f"{PEER}: {versions}; no cache, all {new} tokens are timed.")
    save(result, given)


if __name__ == "__main__":
    main()
