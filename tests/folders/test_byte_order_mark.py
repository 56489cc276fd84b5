"""Some editors write a byte-order mark before JSON: files of a model folder may have one."""

from pathlib import Path

import pytest

import ogpt
from ogpt.folders.model_folder import ModelFolder

VOCAB = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab</w>": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shape = {"n_positions": 8, "n_embd": 8, "n_head": 2, "n_layer": 1}
    model = ogpt.OpenAIGPTLMHeadModel(ogpt.OpenAIGPTConfig(vocab_size=len(VOCAB), **shape))
    model.save_pretrained(tmp_path, max_shard_size=600)
    tokenizer = ogpt.OpenAIGPTTokenizerFast(vocab=VOCAB, merges=[("a", "b</w>")])
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"max_new_tokens": 2}', "utf-8")
    return tmp_path


def test_every_json_file_of_a_folder(folder: Path) -> None:
    files = [*sorted(folder.glob("*.json")), folder / "merges.txt"]
    assert len(files) == 7
    wanted, _ = ogpt.load(folder)
    for file in files:
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    tokenizer, model = ogpt.load(folder)
    assert tokenizer.fingerprint == wanted.fingerprint
    ids = tokenizer("ab a", return_tensors="pt")["input_ids"]
    assert model.generate(ids).shape == (1, 4)
    assert ModelFolder.open(folder).config.n_embd == 8
    assert len(ogpt.generate(folder, "ab", max_new_tokens=2)[0].ids) == 2
