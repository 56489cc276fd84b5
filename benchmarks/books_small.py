"""Pre-train preset `small` on the books of ../shared/data and write docs/results/books-small.md.

    python -m benchmarks.books_small [--run runs/books-small] [--steps 6000] [--set ...]

If interrupted, run it again: it resumes from the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import lzma
import platform
from pathlib import Path

import torch

import ogpt
from ogpt import processor
from ogpt.data.documents import documents
from ogpt.data.sources import open_sources
from ogpt.evaluation.ngrams import ngram_losses
from ogpt.folders.run_folder import RunFolder
from ogpt.generation.protocol.perplexity import bits_per_byte, perplexity
from ogpt.recipes.curves import save_loss_curve
from ogpt.recipes.run_metrics import read_metrics
from ogpt.storage import write_json
from ogpt.weights.shapes import parameter_count
from ogpt.workflows.generate import generate
from ogpt.workflows.prepare import prepare
from ogpt.workflows.pretrain import pretrain
from ogpt.workflows.train_tokenizer import train_tokenizer

ROOT = Path(__file__).parents[1]
BOOKS = ROOT.parent / "shared" / "data" / "books"
RESULTS = ROOT / "docs" / "results"
VOCAB_SIZE = 10_287  # 10,000 merges, 143 characters in both forms, <unk>
PROMPTS = (
    "The old man looked at her and",
    "It was a dark night, and the",
    '"I don\'t believe you," said',
)


def books(pattern: str) -> list[str]:
    """Book files that match the pattern, as sources."""
    return sorted(str(file) for file in BOOKS.glob(pattern))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "books-small")
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--set", action="append", default=[], help="as `ogpt pretrain` takes it")
    options = parser.parse_args()
    run: Path = options.run

    tokenizer = train_tokenizer(books("books_train_*"), VOCAB_SIZE, run.parent / "books-tokenizer")
    shards = prepare(
        books("books_train_*"), tokenizer, run.parent / "books-shards", valid=books("books_valid*")
    )
    result = pretrain(
        preset="small",
        data=[str(shards.folder)],
        out=run,
        overrides=[f"training.max_steps={options.steps}", *options.set],
        resume=RunFolder.is_run(run),
    )
    counted = run / "ngrams.json"
    if not counted.exists():
        found = ngram_losses(shards.train, shards.valid, shards.vocab_size)
        write_json(
            counted,
            {"unigram": found.unigram, "bigram": found.bigram, "trigram": found.trigram},
        )
    ngrams: dict[str, float] = json.loads(counted.read_text("utf-8"))
    write_page(run, shards.valid.n_bytes, result.valid.tokens, result.valid.loss, ngrams)


def xz_bits_per_byte() -> float:
    """Bits per byte of the validation books, compressed by xz -9."""
    text = "".join(document.text for document in documents(open_sources(books("books_valid*"))))
    return 8 * len(lzma.compress(text.encode(), preset=9)) / len(text.encode())


def write_page(run: Path, n_bytes: int, tokens: int, loss: float, ngrams: dict[str, float]) -> None:
    """Write the loss curve and the page."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    save_loss_curve(run, RESULTS / "books-small.png", ngrams)
    config = ogpt.folders.model_folder.ModelFolder.open(run).config
    metrics = read_metrics(run)
    rows = {
        "GPT (preset small)": loss,
        **{f"{name} model": ngrams[name] for name in reversed(ngrams)},
    }
    lines = [
        f"| {name} | {value:.3f} | {perplexity(value):.1f} | "
        f"{bits_per_byte(value, tokens, n_bytes):.3f} |"
        for name, value in rows.items()
    ]
    below = 1 - loss / ngrams["trigram"]
    fewer = 1 - perplexity(loss) / perplexity(ngrams["trigram"])
    samples = []
    for seed, prompt in enumerate(PROMPTS):
        (written,) = generate(run, prompt, max_new_tokens=100, temperature=0.8, seed=seed)
        samples.append(f"> **{prompt}**{written.text}\n")
    last = metrics.train[-1]
    page = f"""# Preset `small` on the books

`python -m benchmarks.books_small` repeats this run. It can be interrupted and resumed. The data is
not part of the project; the script expects it in `shared/data/books`, beside the project.

| | |
|---|---|
| parameters | {parameter_count(config):,} |
| layers, channels, heads | {config.n_layer}, {config.n_embd}, {config.n_head} |
| context length | {config.n_positions} |
| vocabulary | {config.vocab_size:,} entries, 10,000 of them merges of the training files |
| steps | {last["step"]:,} |
| training tokens | {last["step"] * 8 * config.n_positions:,} of 26.3 million, each at most once |
| time in training steps | {metrics.train_seconds / 60:.0f} minutes |
| median speed | {metrics.tokens_per_s:,.0f} tokens/s |
| share of the best measured matrix multiplication | {metrics.mfu:.0%} |
| machine | {processor.cores()} cores, {processor.name()} |
| software | torch {torch.__version__}, Python {platform.python_version()} |

The machine had other load at times, so the speed is a lower bound.

The validation set `books_valid` has five whole books by authors that are not in the training files:
{n_bytes:,} bytes and {tokens:,} scored tokens. The model's text is in lower case and without
layout. Bits per byte count the bytes of the original.

| | loss (nats/token) | perplexity | bits per byte |
|---|---|---|---|
{chr(10).join(lines)}
| `xz -9` | | | {xz_bits_per_byte():.3f} |

The n-gram models use interpolated modified Kneser-Ney smoothing, with counts from all training
tokens. Against the trigram model, the GPT's bits per byte are {below:.1%} lower and its perplexity
is {fewer:.1%} lower. The target was at most 1.6 bits per byte and 20 % below the trigram model.

![loss over steps](books-small.png)

The validation points of the curve score the first 256 windows: 65,536 tokens of one book, which is
easier than the whole. The dashed lines and the table score the whole validation set. Do not compare
the two.

## Samples

Unselected: temperature 0.8, seeds 0 to {len(PROMPTS) - 1}, 100 new tokens.

{chr(10).join(samples)}"""
    (RESULTS / "books-small.md").write_text(page, "utf-8")


if __name__ == "__main__":
    main()
