"""Memory does not grow with the size of a file."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from ogpt.data.documents import documents
from ogpt.data.sources import open_sources

MEGABYTES = 48
LIMIT = 6 << 20  # a few reads and one document


def lines(ending: str) -> Iterator[bytes]:
    for number in range(MEGABYTES << 4):
        words = (f"{number * 8_000 + word:x}" for word in range(8_000))
        text = " ".join(words)
        row = json.dumps({"text": text}) + "\n" if ending.startswith(".jsonl") else text + "\n\n"
        yield row.encode()


def write(path: Path, ending: str) -> None:
    if ending.endswith(".gz"):
        with gzip.open(path, "wb", 1) as packed:
            packed.writelines(lines(ending))
    elif ending.endswith(".zst"):
        with zstandard.open(path, "wb") as packed:
            for line in lines(ending):
                packed.write(line)
    else:
        with path.open("wb") as plain:
            plain.writelines(lines(ending))


@pytest.mark.parametrize("ending", [".txt", ".jsonl.gz", ".jsonl.zst"])
def test_reading_takes_little_memory(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write(path, ending)
    size = 0
    tracemalloc.start()
    try:
        for document in documents(open_sources([path])):
            size += len(document.text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 20 << 20
    assert peak < LIMIT
