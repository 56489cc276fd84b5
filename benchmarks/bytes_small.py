"""Pre-train preset `small` on the books with byte-level tokens; write docs/results/bytes-small.md.

    python -m benchmarks.bytes_small [--runs runs/bytes-small] [--steps 3000] [--set ...] [--smoke]

Three models with the same shape, number of entries and number of steps (about 40 minutes each on
one core): `bert` and `bytes` on the books, and `bytes` on the text that `bert` sees. If
interrupted, run it again: it resumes from the last checkpoint. `--smoke` uses a few pages.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ogpt
from benchmarks.books_small import PROMPTS, RESULTS, ROOT, VOCAB_SIZE, books
from ogpt import processor
from ogpt.data.documents import documents
from ogpt.data.sources import open_sources
from ogpt.folders.run_folder import RunFolder
from ogpt.generation.protocol.perplexity import bits_per_byte
from ogpt.recipes.run_metrics import read_metrics
from ogpt.storage import whole_file
from ogpt.tokens.bert_words import BertWords
from ogpt.tokens.tokenizer import PreTokenizer
from ogpt.workflows.generate import generate
from ogpt.workflows.prepare import prepare
from ogpt.workflows.pretrain import pretrain
from ogpt.workflows.train_tokenizer import train_tokenizer

SMOKE = ("training.batch_size=2", "training.micro_batch_size=2", "training.warmup_steps=1")


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the table."""

    name: str
    pre_tokenizer: PreTokenizer
    text: str
    """Which text it reads: "original", or "bert": words as BERT's rules find them."""
    remark: str


ROWS = (
    Row("bert", "bert", "original", "case and line breaks not coded"),
    Row("bytes", "bytes", "original", "everything coded"),
    Row("bytes-of-bert", "bytes", "bert", "`bytes` on the text that `bert` sees: compares fairly"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run gave."""

    row: Row
    loss: float
    tokens: int
    unknown: float
    """Share of the validation tokens that are <unk>."""
    bits: float
    """Per byte of the original text."""
    minutes: float
    steps: int
    entries: int
    run: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "bytes-small")
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--set", action="append", default=[], help="as `ogpt pretrain` takes it")
    parser.add_argument("--smoke", action="store_true", help="a few pages and steps, to try it")
    parser.add_argument("--out", type=Path, default=RESULTS / "bytes-small.md")
    options = parser.parse_args()
    runs: Path = options.runs
    runs.mkdir(parents=True, exist_ok=True)

    train, valid = books("books_train_*"), books("books_valid*")
    size, overrides = VOCAB_SIZE, [f"training.max_steps={options.steps}", *options.set]
    if options.smoke:
        train, valid = smoke_text(runs)
        size, overrides = 600, [*overrides, *SMOKE]
    n_bytes = sum(len(document.text.encode()) for document in documents(open_sources(valid)))
    found = []
    for row in ROWS:
        text, held_out = train, valid
        if row.text == "bert":
            text = as_bert_sees(train, runs / "as-bert-sees-train.jsonl.gz")
            held_out = as_bert_sees(valid, runs / "as-bert-sees-valid.jsonl.gz")
        found.append(measure(row, runs / row.name, text, held_out, size, overrides, n_bytes))
    write_page(found, n_bytes, options.out)


def smoke_text(runs: Path) -> tuple[list[str], list[str]]:
    """Two small files of documentation, where the books may be absent."""
    pages = [d.text for d in documents(open_sources(["builtin:python-docs"]))]
    files = []
    for name, part in (("train", pages[:20]), ("valid", pages[20:24])):
        (runs / f"{name}.txt").write_text("\n".join(part), "utf-8")
        files.append([str(runs / f"{name}.txt")])
    return files[0], files[1]


def as_bert_sees(sources: Sequence[str], out: Path) -> list[str]:
    """Write the words that BERT's rules find, separated by spaces; return the file as a source."""
    if not out.exists():
        words = BertWords()
        with whole_file(out) as temporary, gzip.open(temporary, "wt", encoding="utf-8") as lines:
            for document in documents(open_sources(sources)):
                lines.write(json.dumps({"text": " ".join(words(document.text)) + " "}) + "\n")
    return [str(out)]


def measure(
    row: Row,
    folder: Path,
    train: Sequence[str],
    valid: Sequence[str],
    vocab_size: int,
    overrides: Sequence[str],
    n_bytes: int,
) -> Measured:
    """Train one model, or resume it, and measure it on the validation text."""
    folder.mkdir(exist_ok=True)
    tokenizer = train_tokenizer(
        train, vocab_size, folder / "tokenizer", pre_tokenizer=row.pre_tokenizer
    )
    shards = prepare(train, tokenizer, folder / "shards", valid=valid)
    run = folder / "run"
    result = pretrain(
        preset="small",
        data=[str(shards.folder)],
        out=run,
        overrides=overrides,
        resume=RunFolder.is_run(run),
    )
    ids = shards.valid[:]
    unknown = (
        0.0 if tokenizer.unk_token_id is None else float((ids == tokenizer.unk_token_id).mean())
    )
    metrics = read_metrics(run)
    loss, tokens = result.valid.loss, result.valid.tokens
    return Measured(
        row=row,
        loss=loss,
        tokens=tokens,
        unknown=unknown,
        bits=bits_per_byte(loss, tokens, n_bytes),
        minutes=metrics.train_seconds / 60,
        steps=metrics.train[-1]["step"],
        entries=len(tokenizer),
        run=run,
    )


def write_page(found: Sequence[Measured], n_bytes: int, out: Path) -> None:
    """Write the table and the samples of all models."""
    lines = [
        f"| `{one.row.name}` | {one.bits:.3f} | {one.loss:.3f} | {one.tokens:,} | "
        f"{one.unknown:.2%} | {one.minutes:.0f} | {one.row.remark} |"
        for one in found
    ]
    page = f"""# Byte-level tokens on the books

`python -m benchmarks.bytes_small` repeats these runs. They can be interrupted and resumed. The
data is that of [books-small](books-small.md).

Three models of preset `small` with {found[0].entries:,} entries and
{found[0].steps:,} steps each, on {_cores()} ({processor.name()}), with ogpt
{ogpt.__version__}. The validation set has {n_bytes:,} bytes. Bits per byte are all bits of the
model over the bytes of the **original** text.

| model | bits per byte | loss (nats/token) | scored tokens | `<unk>` | training minutes | |
|---|---|---|---|---|---|---|
{chr(10).join(lines)}

`bert` need not predict capitals, line breaks, indentation or the letters of `<unk>`, and its figure
leaves them out. So the first two rows do not measure the same: the second codes more. The third
compares fairly with the first, as both code the same lower-case words.

## Samples

Unselected: temperature 0.8, seeds 0 to {len(PROMPTS) - 1}, 100 new tokens. With `bytes`, the
readable form is the text itself.

{chr(10).join(map(samples, found))}"""
    with whole_file(out) as temporary:
        temporary.write_text(page, "utf-8")


def _cores() -> str:
    return "one core" if processor.cores() == 1 else f"{processor.cores()} cores"


def samples(one: Measured) -> str:
    """The continuations of one model, in both forms."""
    lines = [f"### {one.row.name}\n"]
    for seed, prompt in enumerate(PROMPTS):
        if one.row.text == "bert":
            prompt = " ".join(BertWords()(prompt))
        for surface in ("readable", "raw"):
            (written,) = generate(
                one.run,
                prompt,
                max_new_tokens=100,
                temperature=0.8,
                seed=seed,
                surface=surface,
            )
            lines.append(f"{surface}:\n\n```text\n{prompt}{written.text}\n```\n")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
