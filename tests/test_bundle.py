import json
import sys
from pathlib import Path

import pytest

from ogpt import bundle
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import BackendMissing, CheckpointError, VocabularyMismatch
from ogpt.tokens.fast import OpenAIGPTTokenizerFast

VOCAB = {"<unk>": 0, "a": 1, "a</w>": 2}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("step-00000001", "step-00000002"):
        folder = tmp_path / "checkpoints" / name
        OpenAIGPTConfig(vocab_size=3, n_embd=4, n_head=1, n_layer=1).save_pretrained(folder)
        OpenAIGPTTokenizerFast(vocab=VOCAB, merges=[]).save_pretrained(folder)
    return tmp_path


def point(run: Path, best: str | None, last: str | None) -> None:
    (run / "run.json").write_text(json.dumps({"best": best, "last": last}))


def test_a_run_stands_for_its_best_else_its_last(run: Path) -> None:
    point(run, "step-00000001", "step-00000002")
    assert bundle.resolve(run).name == "step-00000001"
    point(run, None, "step-00000002")
    assert bundle.resolve(run).name == "step-00000002"
    assert bundle.read_config(run).vocab_size == 3
    assert len(bundle.load_tokenizer(str(run))) == 3


def test_a_run_file_cannot_point_outside(run: Path) -> None:
    point(run, "../../etc", None)
    assert bundle.resolve(run) == run / "checkpoints" / "etc"


def test_a_run_without_checkpoint(run: Path) -> None:
    point(run, None, None)
    with pytest.raises(CheckpointError, match="no checkpoint yet") as caught:
        bundle.resolve(run)
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("text", ["{", "{}", "7"])
def test_a_damaged_run_file(run: Path, text: str) -> None:
    (run / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json is damaged") as caught:
        bundle.resolve(run)
    assert "checkpoints" in caught.value.hint


def test_no_folder_and_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no folder") as caught:
        bundle.resolve(tmp_path / "none")
    assert "model.safetensors" in caught.value.hint
    with pytest.raises(CheckpointError, match="no model and no run") as caught:
        bundle.resolve(tmp_path)
    assert "model.safetensors" in caught.value.hint


def test_a_tokenizer_larger_than_the_model(run: Path) -> None:
    folder = run / "checkpoints" / "step-00000001"
    OpenAIGPTConfig(vocab_size=2, n_embd=4, n_head=1, n_layer=1).save_pretrained(folder)
    with pytest.raises(VocabularyMismatch, match=r"has 3 entries.*has 2 rows") as caught:
        bundle.load_tokenizer(folder)
    assert "trained with" in caught.value.hint


def test_without_torch(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point(run, "step-00000001", None)
    monkeypatch.setitem(sys.modules, "ogpt.model.heads", None)
    with pytest.raises(BackendMissing, match="needs PyTorch") as caught:
        bundle.load(run)
    assert caught.value.hint == "pip install 'ogpt[torch]'"
