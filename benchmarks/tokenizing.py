"""`ogpt prepare` beside `tokenizers.encode_batch_fast` alone, on the same texts and threads.

`ogpt prepare` reads and decompresses files, removes duplicates, splits off the validation set,
tokenizes and writes shards. The baseline only encodes texts in memory. Each round starts with an
empty word cache.
"""

from __future__ import annotations

import json
import os
import tempfile
from argparse import Namespace
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.measuring import Result, Table, arguments, interleave, rates, save, spread, timed

BOOKS = "books/books_train_*.jsonl.gz"
BATCH_CHARACTERS = 1 << 22  # the size of ogpt's own batches
SHARED = Path(__file__).parents[2] / "shared" / "data"


def inputs(folder: Path, smoke: bool) -> tuple[list[str], Path, str]:
    """Sources, a tokenizer folder and their description: the books, if present."""
    from ogpt.data.builtin import library_folder, texts
    from ogpt.workflows.train_tokenizer import train_tokenizer

    builtin = ["builtin:python-docs", "builtin:python-code"]
    if smoke:
        documents = (text for text, _, _ in texts("python-docs", library_folder()))
        sample = folder / "sample.jsonl"
        rows = (json.dumps({"text": next(documents)[:3000]}) + "\n" for _ in range(100))
        sample.write_text("".join(rows), "utf-8")
        builtin = [str(sample)]
    elif list(SHARED.glob(BOOKS)) and (SHARED / "gpt1_vocab").is_dir():
        return [str(SHARED / BOOKS)], SHARED / "gpt1_vocab", "books, GPT-1's vocabulary"
    train_tokenizer(builtin[:1], 400 if smoke else 8000, folder / "tokenizer")
    return builtin, folder / "tokenizer", "Python's own documentation and code"


def in_batches(texts: list[str]) -> list[list[str]]:
    """Split texts into lists of about BATCH_CHARACTERS characters."""
    batches: list[list[str]] = [[]]
    characters = 0
    for text in texts:
        if characters >= BATCH_CHARACTERS:
            batches.append([])
            characters = 0
        batches[-1].append(text)
        characters += len(text)
    return batches


def measure(given: Namespace, folder: Path) -> Result:
    """Time both in turn."""
    from ogpt.data.documents import documents
    from ogpt.data.sources import open_sources
    from ogpt.tokens.fast import OpenAIGPTTokenizerFast
    from ogpt.workflows.prepare import prepare

    data, folder_of_tokenizer, what = inputs(folder, given.smoke)
    texts = [document.text for document in documents(open_sources(data))]
    n_bytes = sum(len(text.encode()) for text in texts)
    batches = in_batches(texts)
    numbers = count()
    shards: list[Any] = []

    def ours() -> float:
        out = folder / f"shards-{next(numbers)}"
        fresh = OpenAIGPTTokenizerFast.from_pretrained(folder_of_tokenizer)
        return timed(lambda: shards.append(prepare(data, fresh, out)))

    def theirs() -> float:
        alone = OpenAIGPTTokenizerFast.from_pretrained(folder_of_tokenizer).backend_tokenizer

        def encode() -> None:
            for batch in batches:
                alone.encode_batch_fast(batch, add_special_tokens=False)

        return timed(encode)

    samples = interleave({"ogpt prepare": ours, "encode_batch_fast": theirs}, given.rounds)
    result = Result(
        name="tokenising",
        title="Tokenizing",
        settings={"data": what, "n_bytes": n_bytes, "n_documents": len(texts)},
        samples=samples,
        figures={"n_tokens": len(shards[0].train) + len(shards[0].valid)},
    )
    rows = [[name, spread(rates(n_bytes / 1e6, seconds), 2)] for name, seconds in samples.items()]
    header = [f"{n_bytes / 1e6:,.1f} MB ({what})", "MB/s, median (lowest to highest)"]
    result.tables.append(Table(header, rows))
    share = result.compare("ogpt prepare", "encode_batch_fast")
    result.add_pairs()
    result.target("tokenize and shard, times encode_batch_fast", share, at_least=0.85)
    result.notes.append(
        "`ogpt prepare` does all work of the command (reading, decompression, removal of "
        "duplicates, validation split, shards with hashes). The baseline only encodes texts in "
        "memory."
    )
    return result


def main() -> None:
    given = arguments(__doc__, 5)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    os.environ["RAYON_NUM_THREADS"] = str(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        save(measure(given, Path(folder)), given)


if __name__ == "__main__":
    main()
