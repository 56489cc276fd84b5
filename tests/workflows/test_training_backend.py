"""Which framework trains: what is refused before any work. Training itself: tests/tf."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

import ogpt
from ogpt import notices
from ogpt.errors import BackendMissing, ConfigError
from ogpt.workflows.finetune_setup import FinetuneRequest
from ogpt.workflows.pretrain_setup import PretrainRequest, resolve_settings
from tests.training.corpus import write_text
from tests.workflows.finetuning import base_model, task_files

SMALL = ["model.n_layer=1", "model.n_head=2", "model.n_embd=16", "tokenizer.vocab_size=200"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow as far as the question goes whether it is there."""
    monkeypatch.setitem(sys.modules, "tensorflow", ModuleType("tensorflow"))


def test_without_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    write_text(tmp_path / "text.jsonl")
    with pytest.raises(BackendMissing, match="training needs TensorFlow") as caught:
        ogpt.pretrain(data=tmp_path / "text.jsonl", out=tmp_path / "run", backend="tensorflow")
    assert caught.value.hint == "pip install 'ogpt[tf]'"
    with pytest.raises(BackendMissing, match="training needs TensorFlow"):
        ogpt.finetune(
            model=base_model(tmp_path / "base"),
            out=tmp_path / "task",
            family="classification",
            **task_files(tmp_path),
            backend="tensorflow",
        )


def test_an_unknown_backend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training.backend is 'jax'; allowed: torch, tensorflow"):
        ogpt.pretrain(data="builtin:python-docs", out=tmp_path / "run", backend="jax")
    with pytest.raises(ConfigError, match=r"finetune.backend is 'jax'"):
        ogpt.finetune(
            model=tmp_path, out=tmp_path / "run", task="sst2", data=tmp_path, backend="jax"
        )


def test_a_backend_is_a_setting(tmp_path: Path) -> None:
    asked = PretrainRequest.of(out=tmp_path / "run", backend="tensorflow", overrides=SMALL)
    assert resolve_settings(asked).training.backend == "tensorflow"
    request = FinetuneRequest.of(
        model=tmp_path, out=tmp_path, task="sst2", data=tmp_path, backend="tensorflow"
    )
    section = request.settings(None).finetune
    assert section.backend == section.training(10).backend == "tensorflow"


@pytest.mark.usefixtures("installed")
def test_tensorflow_has_no_lstm_and_no_recipe_of_2018(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the network is an LSTM; allowed: 'torch'") as caught:
        ogpt.pretrain(
            data="builtin:python-docs",
            out=tmp_path / "run",
            backend="tensorflow",
            overrides="model.network=lstm",
        )
    assert "--backend" in caught.value.hint
    files = task_files(tmp_path)
    given = {"family": "classification", **files, "backend": "tensorflow"}
    with pytest.raises(ConfigError, match="the recipe is 2018-code; allowed: 'torch'"):
        ogpt.finetune(
            model=base_model(tmp_path / "base"), out=tmp_path / "task", recipe="2018-code", **given
        )
    words = ogpt.OpenAIGPTTokenizerFast.from_pretrained(tmp_path / "base")
    config = ogpt.LSTMConfig(vocab_size=len(words), n_positions=32, n_embd=16, lstm_units=8)
    with notices.collecting():  # that other libraries have none
        ogpt.OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path / "lstm")
    words.save_pretrained(tmp_path / "lstm")
    with pytest.raises(ConfigError, match="is an LSTM; allowed: 'torch'"):
        ogpt.finetune(model=tmp_path / "lstm", out=tmp_path / "task", **given)
