"""The benchmark of generation: what transformers' process gets, and a run without it."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tf_generation
from benchmarks.peers import environments
from ogpt.layout import H5_FILE
from tests.tf.twins import gap, tf_small

pytestmark = pytest.mark.slow


def test_transformers_gets_the_same_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(tf_generation, "Remote", lambda *given: started.append(given))
    monkeypatch.setenv("OGPT_BENCH_PEERS", str(tmp_path))
    model = tf_small(parity={"gelu": "erf"})
    given = (model, {"n_layer": 2}, 1, tmp_path / "model")
    assert tf_generation.transformers(*given) is None
    assert started == []
    stamp = tmp_path / tf_generation.ENVIRONMENT / "requirements.txt"
    stamp.parent.mkdir()
    pins = Path(environments.__file__).with_name(f"{tf_generation.ENVIRONMENT}.txt")
    stamp.write_text(pins.read_text("utf-8"), "utf-8")
    tf_generation.transformers(*given)
    [(python, module, setup)] = started
    assert python.is_relative_to(stamp.parent)
    assert find_spec(module) is not None
    assert (setup.folder / H5_FILE).exists()
    ids = model.dummy_inputs
    again = type(model).from_pretrained(setup.folder)
    assert gap(again(ids).logits, model(ids).logits) < 1e-6
