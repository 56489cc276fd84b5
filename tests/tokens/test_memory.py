"""Memory stays constant while new words keep coming in the 2018 order.

`python tests/tokens/test_memory.py 1000` streams a gigabyte and shows the memory on the way.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MEBI = 1 << 20


def texts(megabytes: float, share: float) -> Iterator[str]:
    """Texts of 100 kB; this share of their words was never seen before."""
    draw = random.Random(5)
    known = ["".join(draw.choices(LETTERS, k=draw.randint(1, 9))) for _ in range(5_000)]
    number = 0
    for _ in range(round(10 * megabytes)):
        words = draw.choices(known, k=17_000)
        for place in draw.sample(range(len(words)), round(share * len(words))):
            number += 1
            words[place] = f"{words[place]}{number:x}n't"
        yield "\n".join(" ".join(words[at : at + 12]) for at in range(0, len(words), 12))[:100_000]


def stream(given: argparse.Namespace) -> Iterator[dict[str, float]]:
    """Encode so much text; megabytes, resident memory in MiB and seconds, twenty times."""
    from ogpt.tokens.english_encoder import EnglishEncoder
    from ogpt.tokens.english_words import EnglishWords
    from ogpt.tokens.tokenizer import OpenAIGPTTokenizer

    tokens = ["<unk>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "\n</w>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    tokenizer = OpenAIGPTTokenizer(vocab=vocab, merges=[], pre_tokenizer="openai")
    encoder, words = tokenizer._encode_plain, tokenizer._words
    assert isinstance(encoder, EnglishEncoder)
    assert isinstance(words, EnglishWords)
    if given.remembered:
        encoder.remembered = words.remembered = given.remembered
    process = psutil.Process()
    begin, done, told = time.perf_counter(), 0.0, 0.0
    for text in texts(given.megabytes, given.new):
        if given.way == "call":
            tokenizer(text)
        else:
            tokenizer.encode_batch_arrays([text])
        done += len(text) / 1e6
        if done >= told:
            seconds = time.perf_counter() - begin
            rss = process.memory_info().rss / MEBI
            yield {"megabytes": round(done, 1), "mib": round(rss, 1), "s": round(seconds, 1)}
            told += given.megabytes / 20


@pytest.mark.slow
@pytest.mark.parametrize("way", ["arrays", "call"])
def test_memory_stays_flat(way: str) -> None:
    """Half the words are new; the tables are cleared many times, with spaCy's."""
    command = [sys.executable, __file__, "8", "--new", "0.5", "--remembered", "10000", "--way", way]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    warm = [point["mib"] for point in seen if point["megabytes"] >= 2]
    assert len(warm) >= 10
    assert max(warm) - warm[0] < 20, seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("megabytes", type=float)
    parser.add_argument("--new", type=float, default=0.02, help="the share of words that are new")
    parser.add_argument("--remembered", type=int, help="the limit of the tables of words")
    parser.add_argument("--way", choices=["arrays", "call"], default="arrays")
    for point in stream(parser.parse_args()):
        sys.stdout.write(json.dumps(point) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
