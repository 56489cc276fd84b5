"""The TensorFlow decoder keeps the contract of the protocol, and serves wherever one may."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from typer.testing import CliRunner

import ogpt
from ogpt.cli.main import app
from ogpt.config.lstm_config import LSTMConfig
from ogpt.decoding.choice import open_decoder
from ogpt.errors import ConfigError
from ogpt.model.lstm import LSTMModel
from ogpt.notices import collecting
from ogpt.tf import cache
from ogpt.tf.decoder.tensorflow_decoder import TensorFlowDecoder
from tests.decoding.calls import extend
from tests.decoding.contract import SIZES, SLOTS, TEXTS, Contract
from tests.model.small import small
from tests.tf.twins import gap, twin

pytestmark = pytest.mark.slow

VOCAB = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab</w>": 5}


def contract_of(dtype: str, limit: float) -> Contract:
    model = small(seed=3, **SIZES)
    with torch.no_grad():
        found = model(torch.tensor(TEXTS), output_hidden_states=True)
    states = found.hidden_states[-1].numpy()
    other = twin(model, dtype=dtype)
    return Contract(lambda: TensorFlowDecoder(other, SLOTS), found.logits.numpy(), states, limit)


@pytest.fixture(scope="module", params=[("float32", 1e-5), ("mixed_bfloat16", 0.1)], ids=str)
def contract(request: pytest.FixtureRequest) -> Contract:
    return contract_of(*request.param)


# in bfloat16 the third of equally probable tokens may be another one, so scores differ
@pytest.mark.parametrize("check", Contract.CHECKS, ids=lambda check: check.__name__)
def test_the_contract_is_kept(contract: Contract, check: Callable[[Contract], None]) -> None:
    if contract.limit > 1e-5 and check.__name__ == "check_score":
        pytest.skip("compares to 2e-4")
    contract.reset()
    check(contract)


@pytest.mark.parametrize("fault", ["another column", "another slot", "nothing copied"])
def test_the_contract_sees_faults(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = cache._places

    def wrong(slots: Any, columns: Any) -> Any:
        places = real(slots, columns)
        if fault == "another column":  # each token but the first is written over the one before
            return tf.stack([places[..., 0], tf.maximum(places[..., 1] - 1, 0)], -1)
        return places * [0, 1] if fault == "another slot" else places

    monkeypatch.setattr(cache, "_places", wrong)
    if fault == "nothing copied":
        monkeypatch.setattr(cache.TFSlotMemory, "copy", lambda *given: None)
    faulty = contract_of("float32", 1e-5)
    checks = {"another column": "one_by_one", "another slot": "mixed_parts"}
    with pytest.raises(AssertionError):
        getattr(faulty, f"check_{checks.get(fault, 'copy')}")()


def test_float64_and_parity_switches() -> None:
    # TensorFlow's erf, of the last switch, is not more exact
    for changes, limit in (
        ({}, 1e-12),
        ({"parity": "2018"}, 1e-12),
        ({"parity": "transformers-4-tf"}, 1e-8),
    ):
        model = small(seed=5, **changes).double()
        decoder = TensorFlowDecoder(twin(model, dtype="float64"), 1)
        ids = [3, 1, 4, 1, 5]
        found = [extend(decoder, 0, ids[:2], "all"), extend(decoder, 0, ids[2:], "all")]
        expected = model(torch.tensor([ids])).logits[0].detach()
        assert found[0].dtype == np.float64
        assert gap(np.concatenate(found), expected) < limit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = small(vocab_size=len(VOCAB), n_positions=12)
    model.save_pretrained(tmp_path)
    tokenizer = ogpt.OpenAIGPTTokenizerFast(vocab=VOCAB, merges=[("a", "b</w>")])
    tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_every_search_over_it_writes_what_pytorch_writes(folder: Path) -> None:
    asked: list[dict[str, Any]] = [
        {"do_sample": False, "max_new_tokens": 20},  # the window slides
        {"seed": 3, "num_return_sequences": 3, "top_p": 0.9, "ban": ["ab"]},
        {"do_sample": False, "num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 5},
        {"do_sample": False, "penalty_alpha": 0.5, "top_k": 3, "max_new_tokens": 5},
    ]
    for one in asked:
        with collecting():
            found, expected = (
                ogpt.generate(folder, "ab a", decoder=decoder, **one)
                for decoder in ("tensorflow", "torch")
            )
        assert [text.ids for text in found] == [text.ids for text in expected]
        assert found[0].text == expected[0].text


def test_on_the_command_line(folder: Path) -> None:
    words = ["generate", str(folder), "ab", "--greedy", "--max-new-tokens", "4", "--decoder"]
    found, expected = (
        CliRunner().invoke(app, [*words, decoder]) for decoder in ("tensorflow", "torch")
    )
    assert (found.exit_code, found.stdout) == (0, expected.stdout)
    refused = CliRunner().invoke(app, [*words, "tensorflow", "--dtype", "int8"])
    assert refused.exit_code != 0
    assert "the tensorflow decoder has float32 and bfloat16" in refused.stderr


def test_scoring_and_perplexity(folder: Path) -> None:
    [found], [expected] = (
        ogpt.score(folder, "ab a b a", decoder=decoder) for decoder in ("tensorflow", "native")
    )
    np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)
    found, expected = (
        ogpt.evaluate(folder, text="ab a b ab ab b a b a", decoder=decoder)
        for decoder in ("tensorflow", "native")
    )
    assert found.perplexity == pytest.approx(expected.perplexity, rel=1e-5)


@pytest.mark.parametrize(
    ("stored", "asked", "opened"),
    [
        (torch.float32, "auto", "float32"),
        (torch.float64, "auto", "float64"),
        (torch.bfloat16, "auto", "bfloat16"),
        (torch.float32, "bfloat16", "bfloat16"),
    ],
)
def test_dtypes(tmp_path: Path, stored: torch.dtype, asked: str, opened: str) -> None:
    small().to(stored).save_pretrained(tmp_path)
    with collecting():  # of rounding the weights
        decoder = open_decoder(tmp_path, decoder="tensorflow", dtype=asked, slots=2)
    assert isinstance(decoder, TensorFlowDecoder)
    assert (decoder.model.compute_dtype, decoder.slots) == (opened, 2)


def test_threads_after_tensorflow_has_started(folder: Path) -> None:
    tf.constant(0)
    with collecting() as notices:
        open_decoder(folder, decoder="tensorflow", threads=977)
    assert "threads has no effect: TensorFlow has already started" in notices[0].message
    with collecting() as notices:
        open_decoder(folder, decoder="tensorflow")
    assert not notices


def test_models_that_it_does_not_run(tmp_path: Path) -> None:
    with collecting():  # that only ogpt loads it
        LSTMModel(LSTMConfig(vocab_size=9, n_embd=8, n_layer=1)).save_pretrained(tmp_path / "lstm")
    with pytest.raises(ConfigError, match="is a LSTMConfig; allowed") as caught:
        open_decoder(tmp_path / "lstm", decoder="tensorflow")
    assert "PyTorch" in caught.value.hint
