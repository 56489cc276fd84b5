import sys
from pathlib import Path

import pytest
import torch

from ogpt.decoding.choice import open_decoder
from ogpt.errors import BackendMissing, CheckpointError, ConfigError
from tests.model.parity import random_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_model(2, n_positions=12).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_a_decoder_of_a_folder(folder: Path, dtype: str) -> None:
    decoder = open_decoder(folder, dtype=dtype, threads=1, slots=2)
    model = random_model(2, n_positions=12)
    expected = model(torch.tensor([[1, 2, 3]])).logits[0, -1].detach().numpy()
    found = decoder.extend(1, [1, 2, 3])
    assert found is not None
    limit = 0.1 if dtype == "bfloat16" else 1e-4
    assert abs(found - expected).max() < limit * abs(expected).max()
    assert decoder.slots == 2


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"decoder": "native"}, "decoder is 'native'; allowed: auto, torch"),
        ({"dtype": "int8"}, "dtype is 'int8'; allowed: auto, float32, bfloat16"),
        ({"threads": -1}, "threads is -1; allowed: 0 or more"),
        ({"slots": 0}, "slots is 0; allowed: 1 or more"),
    ],
)
def test_values_outside_their_range(folder: Path, arguments: dict[str, int], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        open_decoder(folder, **arguments)
    assert caught.value.hint


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model and no run"):
        open_decoder(tmp_path)


def test_without_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendMissing, match="needs PyTorch") as caught:
        open_decoder(folder)
    assert caught.value.hint == "pip install 'ogpt[torch]'"
