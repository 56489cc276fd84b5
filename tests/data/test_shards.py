"""Shards on disk: read over file borders, and checked before anything is computed on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ogpt.data import shards as module
from ogpt.data.manifest import has_manifest
from ogpt.data.shards import Shards, TokenStream
from ogpt.errors import DamagedData, OutputExists, SourceNotFound
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.workflows.prepare import prepare

MakeStream = Callable[..., TokenStream]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    start=st.none() | st.integers(-60, 60),
    stop=st.none() | st.integers(-60, 60),
)
def test_a_slice_is_that_of_the_whole(
    make_stream: MakeStream, sizes: list[int], start: int | None, stop: int | None
) -> None:
    stream = make_stream(*([size] for size in sizes))
    assert len(stream) == sum(sizes)
    assert stream[start:stop].tolist() == list(range(sum(sizes)))[start:stop]
    assert stream[start:stop].dtype == np.uint16


def test_documents_run_over_all_shards(make_stream: MakeStream) -> None:
    stream = make_stream([3, 1], [], [4])
    assert stream.document_starts.tolist() == [0, 3, 4]
    assert stream.n_documents == 3
    assert stream.n_bytes == 8


def test_an_empty_stream(make_stream: MakeStream) -> None:
    stream = make_stream()
    assert len(stream) == len(stream[0:5]) == len(stream.document_starts) == 0


def test_few_files_are_open_at_once(
    make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OPEN_FILES", 2)
    opened: list[int] = []
    stream = make_stream([2], [2], [2])
    monkeypatch.setattr(np, "memmap", counting(np.memmap, opened))
    assert stream[0:6].tolist() == [0, 1, 2, 3, 4, 5]
    assert stream[3:6].tolist() == [3, 4, 5]
    assert len(opened) == 3


def counting(wrapped: Any, calls: list[int]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return wrapped(*args, **kwargs)

    return call


@pytest.fixture
def prepared(tmp_path: Path, characters: OpenAIGPTTokenizerFast) -> Path:
    source = tmp_path / "a.jsonl"
    source.write_text("".join(f'{{"text": "document {number}"}}\n' for number in range(50)))
    valid = tmp_path / "b.jsonl"
    valid.write_text('{"text": "held out"}\n')
    prepare(source, characters, tmp_path / "shards", valid=valid, shard_tokens=200)
    return tmp_path / "shards"


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(DamagedData, match=message) as caught:
        Shards.open(folder)
    assert f"ogpt prepare --data SOURCE --tokenizer DIR --out {folder}" in caught.value.hint


def test_no_shards(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            SourceNotFound, match=r"is no folder of shards: it has no man"
        ) as caught:
            Shards.open(str(folder))
        assert "ogpt prepare" in caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": "ogpt-shards"}'])
def test_a_damaged_manifest(prepared: Path, text: str) -> None:
    (prepared / "manifest.json").write_text(text)
    refused(prepared, r"manifest\.json is damaged")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name": "an app", "icons": []}', "\xff"])
def test_a_foreign_manifest_makes_no_shards(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast, text: str
) -> None:
    """Web applications have a manifest.json; beside shards, it is a damaged one of ours."""
    assert not has_manifest(tmp_path)
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    assert not has_manifest(tmp_path)
    source = tmp_path / "a.txt"
    source.write_text("a b c")
    with pytest.raises(OutputExists, match="exists and holds no shards"):
        prepare(source, characters, tmp_path)
    (tmp_path / "train-00000.bin").touch()
    assert has_manifest(tmp_path)


def test_our_manifest_is_known_by_its_format(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": "ogpt-shards", "version": 99}')
    assert has_manifest(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").mkdir()  # cannot be read; read_manifest says so
    assert has_manifest(tmp_path)
    assert has_manifest(prepared)


def test_a_manifest_of_another_version(prepared: Path) -> None:
    change(prepared, lambda values: values.update(version=99))
    refused(prepared, "'ogpt-shards' version 99; this ogpt reads 'ogpt-shards' version 1")


def without_vocab_size(values: dict[str, Any]) -> None:
    del values["inputs"]["tokenizer"]["vocab_size"]


def with_shard(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda values: values["splits"]["train"]["shards"][0].update(fields)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda values: values.update(dtype="float32"), "dtype is 'float32'"),
        (lambda values: values["splits"].pop("valid"), "KeyError: 'valid'"),
        (without_vocab_size, "KeyError: 'vocab_size'"),
        (with_shard(file="../../etc/passwd"), "shard 0 of train is named '../../etc/passwd'"),
        (with_shard(n_tokens=-1), r"train-00000\.bin has a negative count"),
        (with_shard(more=1), "TypeError"),
        (with_shard(n_tokens="many"), "TypeError"),
    ],
)
def test_a_manifest_that_cannot_be(prepared: Path, edit: Any, message: str) -> None:
    change(prepared, edit)
    refused(prepared, message)


@pytest.mark.parametrize("name", ["train-00001.bin", "train-00000.documents", "valid-00000.bin"])
def test_files_missing_or_of_another_size(prepared: Path, name: str) -> None:
    path = prepared / name
    content = path.read_bytes()
    path.write_bytes(content + b"1")
    refused(prepared, f"{name} has {len(content) + 1} bytes; the manifest says {len(content)}")
    path.unlink()
    refused(prepared, f"{name} is missing")


@pytest.mark.parametrize("name", ["train-00001.bin", "valid-00000.documents"])
def test_verify_finds_what_was_altered(prepared: Path, name: str) -> None:
    shards = Shards.open(prepared)
    shards.verify()
    content = bytearray((prepared / name).read_bytes())
    content[0] ^= 1
    (prepared / name).write_bytes(content)
    with pytest.raises(DamagedData, match=f"{name} was altered: its sha256 is") as caught:
        Shards.open(prepared).verify()
    assert "ogpt prepare" in caught.value.hint


def test_ids_outside_the_vocabulary_are_told_with_their_file(make_stream: MakeStream) -> None:
    stream = make_stream([5], [5], vocab_size=8)
    assert stream[0:8].tolist() == list(range(8))
    message = r"train-00001\.bin holds token 9; allowed: 0 to 7"
    with pytest.raises(DamagedData, match=message) as caught:
        stream[4:10]
    assert "ogpt prepare" in caught.value.hint


def test_documents_that_do_not_fill_their_shards(make_stream: MakeStream) -> None:
    stream = make_stream([5, 2])
    np.array([5, 3], "<u4").tofile(stream.folder / stream.shards[0].documents_file)
    with pytest.raises(DamagedData, match="have 8 tokens together, its shards 7") as caught:
        _ = stream.document_starts
    assert "ogpt prepare" in caught.value.hint


def test_a_shard_that_is_lost_or_cut_while_open(make_stream: MakeStream) -> None:
    stream = make_stream([5], [5])
    (stream.folder / "train-00000.bin").write_bytes(b"12")
    with pytest.raises(DamagedData, match=r"train-00000\.bin cannot be read") as caught:
        stream[0:2]
    assert "ogpt prepare" in caught.value.hint
    (stream.folder / "train-00001.bin").unlink()
    with pytest.raises(DamagedData, match=r"train-00001\.bin cannot be read: .*No such file"):
        stream[5:6]
