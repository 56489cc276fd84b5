"""A save replaces all files, or none."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ogpt.errors import StorageError
from ogpt.model.heads import OpenAIGPTLMHeadModel
from tests.model.parity import random_model

IDS = torch.tensor([[1, 2, 3]])


def listing(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_full_disk_leaves_the_earlier_save(tmp_path: Path) -> None:
    random_model(1, n_positions=9, vocab_size=5000, n_embd=16, n_head=4).save_pretrained(tmp_path)
    before = listing(tmp_path)
    other = random_model(2, n_positions=9, vocab_size=5000, n_embd=16, n_head=2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(StorageError, match="could not write") as caught:
            other.save_pretrained(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "the previous content is unchanged" in caught.value.hint
    assert listing(tmp_path) == before


@pytest.mark.parametrize("sizes", [("5GB", "2KB"), ("2KB", "5GB"), ("2KB", "4KB")])
def test_whole_and_sharded_saves_take_turns(tmp_path: Path, sizes: tuple[str, str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for seed, size in enumerate(sizes):
        model = random_model(seed, n_positions=9)
        model.save_pretrained(tmp_path, max_shard_size=size)
        loaded = OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
        assert torch.equal(loaded(IDS).logits, model(IDS).logits)
        index = tmp_path / "model.safetensors.index.json"
        assert index.exists() != (tmp_path / "model.safetensors").exists()
        if index.exists():
            named = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
            assert named == {file.name for file in tmp_path.glob("model-*.safetensors")}
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_a_killed_save_left_is_swept(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".files.{ended.pid}.tmp").mkdir()
    (tmp_path / f".model.safetensors.{ended.pid}.tmp").write_bytes(b"half")
    living = tmp_path / f".other.{os.getppid()}.tmp"
    living.touch()
    random_model(1, n_positions=9).save_pretrained(tmp_path)
    hidden = {file.name for file in tmp_path.glob(".*")}
    assert hidden == {living.name}


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(StorageError, match="could not write") as caught:
        random_model(1, n_positions=9).save_pretrained(file)
    assert "another folder" in caught.value.hint
    assert file.read_text() == "mine"
