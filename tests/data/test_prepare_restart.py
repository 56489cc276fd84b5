"""A preparation that is killed at any moment resumes and gives bit-identical shards."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ogpt.data.manifest import read_manifest
from ogpt.data.shards import Shards
from ogpt.errors import DamagedData, OutputExists, StorageError
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.workflows.prepare import prepare

SHARD_TOKENS = 400
CHILD = """
import os, signal, sys
from pathlib import Path
from ogpt.data import split_reader
from ogpt.workflows.prepare import prepare

split_reader.GROUP_CHARACTERS = 100
replace, moments = os.replace, int(sys.argv[4])
def replace_or_die(*names):
    global moments
    moments -= 1
    if moments == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
os.replace = replace_or_die
prepare(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), shard_tokens=400)
"""


class Recording(OpenAIGPTTokenizerFast):
    """Remembers which texts it encoded; stops after some."""

    encoded: list[str]
    stop_after: int

    def encode_batch_arrays(self, texts: Sequence[str]) -> Any:
        self.encoded += texts
        if len(self.encoded) > self.stop_after:
            raise KeyboardInterrupt
        return super().encode_batch_arrays(texts)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def work(
    tmp_path_factory: pytest.TempPathFactory, characters: OpenAIGPTTokenizerFast
) -> tuple[Path, Path, dict[str, bytes]]:
    """A source, a tokenizer folder, and what the uninterrupted run makes of them."""
    folder = tmp_path_factory.mktemp("work")
    characters.save_pretrained(folder / "tokenizer")
    source = folder / "a.jsonl"
    rows = [f"document {number % 70} of {'many ' * (number % 7)}" for number in range(90)]
    source.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    prepare(source, characters, folder / "out", shard_tokens=SHARD_TOKENS)
    assert len(Shards.open(folder / "out").train.shards) > 3
    return source, folder / "tokenizer", content(folder / "out")


@pytest.mark.parametrize("moment", [1, 4, 5, 7, 9, 14, 21])
def test_killed_and_started_again(
    tmp_path: Path, work: tuple[Path, Path, dict[str, bytes]], moment: int
) -> None:
    source, tokenizer, expected = work
    out = tmp_path / "out"
    command = [sys.executable, "-c", CHILD, str(source), str(tokenizer), str(out), str(moment)]
    killed = subprocess.run(command, check=False)
    assert killed.returncode == -signal.SIGKILL
    if (out / "manifest.json").exists():
        with pytest.raises(DamagedData, match="unfinished") as caught:
            Shards.open(out)
        assert "run the same `ogpt prepare`" in caught.value.hint
    prepare(source, tokenizer, out, shard_tokens=SHARD_TOKENS)
    assert content(out) == expected


def test_stopped_at_every_write(
    tmp_path: Path,
    work: tuple[Path, Path, dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, tokenizer, expected = work
    replace = os.replace
    for moment in range(1, 100):
        out = tmp_path / str(moment)
        left = moment

        def full_disk(*names: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            replace(*names)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full_disk)
            try:
                prepare(source, tokenizer, out, shard_tokens=SHARD_TOKENS)
                break  # every write of the run was tried
            except StorageError:
                pass
        prepare(source, tokenizer, out, shard_tokens=SHARD_TOKENS)
        assert content(out) == expected
    assert moment > 20


def test_what_is_done_is_not_tokenised_again(
    tmp_path: Path,
    work: tuple[Path, Path, dict[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, folder, expected = work
    out = tmp_path / "out"
    monkeypatch.setattr("ogpt.data.split_reader.GROUP_CHARACTERS", 200)
    tokenizer = Recording.from_pretrained(folder)
    tokenizer.encoded, tokenizer.stop_after = [], 40
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tokenizer, out, shard_tokens=SHARD_TOKENS)
    done = read_manifest(out).documents_read
    texts = [json.loads(line)["text"] for line in source.read_text().splitlines()]
    assert 10 < done < 70
    tokenizer.encoded, tokenizer.stop_after = [], 100
    prepare(source, tokenizer, out, shard_tokens=SHARD_TOKENS)
    assert tokenizer.encoded == list(dict.fromkeys(texts))[done:]
    assert content(out) == expected


def test_unfinished_work_is_not_mixed_with_other_inputs(
    tmp_path: Path, work: tuple[Path, Path, dict[str, bytes]]
) -> None:
    source, tokenizer, _ = work
    out = tmp_path / "out"
    command = [sys.executable, "-c", CHILD, str(source), str(tokenizer), str(out), "12"]
    subprocess.run(command, check=False)
    with pytest.raises(OutputExists, match="shard_tokens differ"):
        prepare(source, tokenizer, out, shard_tokens=SHARD_TOKENS + 1)


def test_a_lost_shard_of_unfinished_work_is_told(
    tmp_path: Path, work: tuple[Path, Path, dict[str, bytes]]
) -> None:
    source, tokenizer, _ = work
    out = tmp_path / "out"
    command = [sys.executable, "-c", CHILD, str(source), str(tokenizer), str(out), "14"]
    subprocess.run(command, check=False)
    (out / "train-00000.bin").unlink()
    with pytest.raises(DamagedData, match=r"train-00000\.bin is missing"):
        prepare(source, tokenizer, out, shard_tokens=SHARD_TOKENS)


def test_work_that_wrote_no_shard_is_begun_anew(
    tmp_path: Path, work: tuple[Path, Path, dict[str, bytes]]
) -> None:
    source, tokenizer, expected = work
    out = tmp_path / "out"
    command = [sys.executable, "-c", CHILD, str(source), str(tokenizer), str(out), "6"]
    subprocess.run(command, check=False)
    assert read_manifest(out).documents_read == 0
    other = tmp_path / "b.jsonl"
    other.write_bytes(source.read_bytes().replace(b"many", b"more"))
    prepare(other, tokenizer, out, shard_tokens=SHARD_TOKENS)
    assert content(out).keys() == expected.keys()
