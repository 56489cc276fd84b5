"""The cost of quantization: the books model in each native precision, on the validation set.

    python -m benchmarks.quantization [--run runs/books-small]

The model is that of `python -m benchmarks.books_small`. It is also quantized after two changes of
its weights that leave the function the same in exact arithmetic. Outliers: six value channels of
each layer are 30 times as large, and the rows of c_proj that read them 30 times as small; the
native decoder balances these before it rounds. Shears: 30 times a value channel is added to its
neighbour and subtracted in c_proj, for the same six channels; the native decoder does not undo it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.books_small import ROOT, books
from benchmarks.measuring import RESULTS, Result, Table, note_start, save
from benchmarks.run import write_page
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.library import PRECISIONS
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.evaluation.tokenized_text import open_text
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.decoder import Part
from ogpt.generation.protocol.likelihood import windows
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.recipes.run_metrics import read_metrics
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.merge_learning import learn_merges
from ogpt.tokens.word_counting import count_words
from ogpt.weights.arrays import Array
from ogpt.weights.model_weights import folder_config, open_weights

SMOKE_TEXT = "the old man looked at the sea, and the sea looked back at the old man. " * 9
MOST_PERCENT = {"int8": 0.5, "int4": 3.0}
CHANNELS, FACTOR = 6, 30.0

Weights = dict[str, np.ndarray]


def with_outliers(weights: Weights, config: OpenAIGPTConfig) -> Weights:
    """The same function, with a few value channels of each layer 30 times as large."""
    changed = dict(weights)
    for block, channels in _chosen(config):
        for name in ("c_attn.weight", "c_attn.bias"):
            into = changed[block + name].copy()
            into[..., 2 * config.n_embd + channels] *= FACTOR
            changed[block + name] = into
        out_of = changed[f"{block}c_proj.weight"].copy()
        out_of[channels] /= FACTOR
        changed[f"{block}c_proj.weight"] = out_of
    return changed


def with_shears(weights: Weights, config: OpenAIGPTConfig) -> Weights:
    """The same function, with 30 times a value channel added to its neighbour in the head."""
    changed = dict(weights)
    for block, channels in _chosen(config):
        neighbours = channels ^ 1  # in the same head
        for name in ("c_attn.weight", "c_attn.bias"):
            into = changed[block + name].copy()
            values = into[..., 2 * config.n_embd :]
            values[..., neighbours] += FACTOR * values[..., channels]
            changed[block + name] = into
        out_of = changed[f"{block}c_proj.weight"].copy()
        out_of[channels] -= FACTOR * out_of[neighbours]
        changed[f"{block}c_proj.weight"] = out_of
    return changed


def _chosen(config: OpenAIGPTConfig) -> Iterator[tuple[str, np.ndarray]]:
    """The attention module of each layer and the channels to change, no two adjacent."""
    draw = np.random.default_rng(0)
    for layer in range(config.n_layer):
        chosen = draw.choice(config.n_embd // 2, CHANNELS, replace=False) * 2
        yield f"transformer.h.{layer}.attn.", chosen


def as_trained(weights: Weights, config: OpenAIGPTConfig) -> Weights:
    """The unchanged weights."""
    return weights


VARIANTS = {"as trained": as_trained, "outliers": with_outliers, "shears": with_shears}


class Reference(NamedTuple):
    """Predictions of the first decoder for some tokens."""

    log_probs: np.ndarray
    probs: np.ndarray
    best: np.ndarray

    @classmethod
    def of(cls, log_probs: np.ndarray) -> Reference:
        """From log-probabilities (T, V)."""
        return cls(log_probs, np.exp(log_probs), log_probs.argmax(1))


@dataclass
class Sums:
    """Sums of one decoder over all tokens, relative to the first decoder."""

    loss: float = 0.0
    divergence: float = 0.0
    same: int = 0

    def add(self, log_probs: np.ndarray, reference: Reference, targets: Sequence[int]) -> None:
        """Add the log-probabilities (T, V) of some tokens."""
        self.loss -= float(log_probs[range(len(targets)), targets].sum(dtype=np.float64))
        lost = reference.probs * (reference.log_probs - log_probs)
        self.divergence += float(lost.sum(dtype=np.float64))
        self.same += int((log_probs.argmax(1) == reference.best).sum())


def compare(
    decoders: Mapping[str, NativeDecoder], ids: Iterable[Sequence[int]], most: int
) -> tuple[int, dict[str, Sums]]:
    """Score text in windows with all decoders; the first decoder is the reference."""
    sums = {name: Sums() for name in decoders}
    first = next(iter(decoders.values()))
    tokens = 0
    for window in windows(ids, first.n_positions, first.n_positions):
        reference = None
        for name, decoder in decoders.items():
            decoder.free(0)
            if window.context:
                decoder.run([Part(0, window.context, "none")])
            found = log_softmax(decoder.run([Part(0, window.ids, "all")]).logits)
            reference = reference or Reference.of(found)
            sums[name].add(found, reference, window.targets)
        tokens += len(window.targets)
        if 0 < most <= tokens:
            break
    return tokens, sums


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities (T, V)."""
    wide = logits - logits.max(1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(1, keepdims=True))


def variants(folder: Path, config: OpenAIGPTConfig, threads: int) -> dict[str, NativeDecoder]:
    """Every variant of a model folder in every precision; the original in float32 comes first."""
    weights = {name: array.data for name, array in open_weights(folder).items()}
    decoders = {}
    for variant, change in VARIANTS.items():
        arrays = {
            name: Array(array.dtype.name, array) for name, array in change(weights, config).items()
        }
        for dtype in PRECISIONS:
            decoders[f"{variant}, {dtype}"] = NativeDecoder(
                config, arrays, dtype=dtype, threads=threads
            )
    return decoders


def result_of(tokens: int, sums: Mapping[str, Sums], settings: dict[str, Any]) -> Result:
    """Figures and targets."""
    result = Result("quantization", "The cost of quantization", settings, samples={})
    exact = next(iter(sums.values())).loss / tokens
    rows = []
    for name, found in sums.items():
        loss = found.loss / tokens
        percent = 100 * math.expm1(loss - exact)
        result.figures[name] = {
            "loss": loss,
            "perplexity": math.exp(loss),
            "perplexity_percent": percent,
            "kl_divergence": found.divergence / tokens,
            "top_1_agreement": found.same / tokens,
        }
        rows.append(
            [
                name,
                f"{loss:.4f}",
                f"{math.exp(loss):.3f}",
                f"{percent:+.3f} %",
                f"{found.divergence / tokens:.2g}",
                f"{found.same / tokens:.2%}",
            ]
        )
        variant, dtype = name.split(", ")
        if dtype in MOST_PERCENT and variant != "shears":
            what = f"% of perplexity that {dtype} adds, {variant}"
            result.target(what, percent, at_most=MOST_PERCENT[dtype])
    header = ["loss (nats/token)", "perplexity", "change", "KL divergence", "same top token"]
    result.tables.append(Table([f"{tokens:,} tokens of books_valid", *header], rows))
    result.notes += [
        f"The books model (docs/results/books-small.md) after {settings['steps']:,} steps; windows "
        f"of {settings['n_positions']} tokens that do not overlap. KL divergence (nats/token) and "
        "the share of positions with the same top token are relative to the model as trained in "
        "float32.",
        "outliers: six value channels of each layer are 30 times as large, and the rows of c_proj "
        "that read them 30 times as small; the function is the same. shears: 30 times each of six "
        "value channels is added to its neighbour and subtracted in c_proj; the function is the "
        "same again, but balancing by channels cannot undo this, so it has no target.",
    ]
    return result


def stand_in(folder: Path) -> str:
    """Write a tiny model with random weights in place of the books model; return a text for it."""
    torch.manual_seed(0)
    vocab, merges = learn_merges(count_words([SMOKE_TEXT]), 50)
    OpenAIGPTTokenizerFast(vocab=vocab, merges=merges).save_pretrained(folder)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 64, "n_positions": 32}
    config = OpenAIGPTConfig(vocab_size=len(vocab), **shape)
    OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    return SMOKE_TEXT


def main() -> None:
    given = options()
    with TemporaryDirectory() as temporary:
        text = stand_in(Path(temporary)) if given.smoke else None
        run = Path(temporary) if given.smoke else given.run
        folder = ModelFolder.open(run).path
        config = folder_config(folder)
        data = () if given.smoke else books("books_valid*")
        reading = open_text(ModelFolder.open(folder).tokenizer, data, text)
        decoders = variants(folder, config, given.threads)
        tokens, sums = compare(decoders, reading.ids(), given.tokens)
        settings = {
            "steps": 0 if given.smoke else read_metrics(run).train[-1]["step"],
            "n_positions": config.n_positions,
            "kernels": next(iter(decoders.values())).kernels,
        }
    save(result_of(tokens, sums, settings), given)
    write_page(given.out)


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "books-small")
    parser.add_argument("--tokens", type=int, default=0, help="Score about N tokens; 0 scores all.")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (2).")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Folder of the results.")
    parser.add_argument("--smoke", action="store_true", help="Only check that it runs: tiny sizes.")
    given = parser.parse_args()
    note_start(given)
    return given


if __name__ == "__main__":
    main()
