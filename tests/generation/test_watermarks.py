"""Watermarks are those of transformers, bit for bit, and without PyTorch's generator."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers.generation import logits_process as lp

from ogpt.errors import SamplingError
from ogpt.generation.choosing import watermarks
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.choosing.torch_numbers import coins, permutation, permutation_table
from ogpt.generation.choosing.watermarking_config import (
    SynthIDTextWatermarkingConfig,
    Watermark,
    WatermarkingConfig,
)
from ogpt.generation.choosing.watermarks import watermark
from ogpt.generation.searching.sampling import search
from tests.markov import contextual

transformers.logging.set_verbosity_error()

V = 60
KEYS = [654, 400, 836, 123]


@pytest.mark.parametrize(("seed", "n"), [(3, 10), (2**40 + 7, 1000), (2**64 - 5, 40_478), (1, 1)])
def test_permutations_are_those_of_pytorch(seed: int, n: int) -> None:
    wanted = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    assert permutation(seed, n, n) == wanted
    assert permutation(seed, n, n // 4) == wanted[: n // 4]
    assert permutation_table(seed, n).tolist() == wanted


def test_coins_are_those_of_pytorch() -> None:
    wanted = torch.randint(0, 2, (999,), generator=torch.Generator().manual_seed(4))
    assert coins(4, 999).tolist() == wanted.tolist()


def marked(config: Watermark, ids: list[int], logits: np.ndarray) -> np.ndarray:
    return watermark(config, ids, 3, logits)


def green_gap(scheme: Any, width: int) -> float:
    """The largest difference from transformers' processor."""
    config = WatermarkingConfig(0.3, 1.7, 15_485_863, scheme, width)
    theirs = lp.WatermarkLogitsProcessor(V, "cpu", 0.3, 1.7, 15_485_863, scheme, width)
    rng = np.random.default_rng(0)
    gaps = []
    for length in (1, 2, 5):
        ids = rng.integers(0, V, length).tolist()
        logits = rng.normal(size=V).astype("float32")
        wanted = theirs(torch.tensor([ids]), torch.tensor(logits)[None])[0].numpy()
        gaps.append(np.abs(marked(config, ids, logits) - wanted).max())
    return float(max(gaps))


@pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
@pytest.mark.parametrize("width", [1, 3])
def test_green_lists_are_those_of_transformers(scheme: str, width: int) -> None:
    assert green_gap(scheme, width) == 0


def test_planted_faults_in_green_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        watermarks, "permutation", lambda seed, n, first: permutation(seed + 1, n, first)
    )
    assert min(green_gap("lefthash", 1), green_gap("selfhash", 3)) > 1


def tournament_gap(length: int, skip: bool) -> float:
    """The largest difference from transformers' processor along a text that repeats itself."""
    asked: dict[str, Any] = {"context_history_size": 3, "skip_first_ngram_calls": skip}
    config = SynthIDTextWatermarkingConfig(length, KEYS, **asked)
    theirs = lp.SynthIDTextWatermarkLogitsProcessor(length, KEYS, 2**16, 0, 3, "cpu", skip)
    rng = np.random.default_rng(0)
    ids, gaps = [1, 2, 3], []
    for _ in range(20):
        logits = rng.normal(size=V).astype("float32")
        logits[7] = -np.inf
        wanted = theirs(torch.tensor([ids]), torch.tensor(logits)[None])[0].numpy()
        found = marked(config, ids, logits)
        assert np.isneginf(found).nonzero()[0].tolist() == [7]  # lowest number there, in theirs
        gaps.append(np.abs(np.delete(found, 7) - np.delete(wanted, 7)).max())
        ids.append(int(rng.integers(0, 3)))
    return float(max(gaps))


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("length", [1, 3, 5])
def test_tournaments_are_those_of_transformers(length: int, skip: bool) -> None:
    assert tournament_gap(length, skip) < 1e-5


def test_planted_faults_in_tournaments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermarks, "coins", lambda seed, count: coins(seed + 1, count))
    assert tournament_gap(3, False) > 0.1


def test_a_uniform_distribution_to_debug() -> None:
    config = SynthIDTextWatermarkingConfig(2, KEYS, debug_mode=True)
    found = marked(config, [1, 2, 3], np.arange(V, dtype="float32"))
    assert len(set(found.tolist())) > 3
    assert np.array_equal(found, marked(config, [1, 2, 3], np.zeros(V, "float32")))


def test_any_decoder_marks_its_texts() -> None:
    decoder = contextual(V)
    config = WatermarkingConfig(bias=50.0)
    asked = GenerationSettings(watermarking_config=config, max_new_tokens=9, seed=4)
    ids = [1, *(token.id for token in search(decoder, [[1]], asked))]
    for place in range(1, len(ids)):
        assert ids[place] in permutation(15_485_863 * ids[place - 1], V, V // 4)


def test_configurations_are_kept_and_written(tmp_path: Path) -> None:
    config = WatermarkingConfig(bias=1.5)
    config.to_json_file(tmp_path / "it.json")
    values = json.loads((tmp_path / "it.json").read_text())
    assert values == config.to_dict() == json.loads(config.to_json_string()) == dict(config)
    assert WatermarkingConfig.from_dict(values) == config
    assert WatermarkingConfig.from_dict(values, bias=2).bias == 2
    config.update(bias=3, nothing=4)
    assert config == WatermarkingConfig(bias=3.0)
    theirs = transformers.WatermarkingConfig(bias=1.0)
    kept = GenerationSettings(watermarking_config=theirs).watermarking_config
    assert kept == WatermarkingConfig(bias=1.0)
    synth = GenerationSettings(watermarking_config={"ngram_len": 2, "keys": [1]})
    assert synth.watermarking_config == SynthIDTextWatermarkingConfig(2, [1])


@pytest.mark.parametrize(
    ("kind", "given", "match"),
    [
        (WatermarkingConfig, {"greenlist_ratio": 1.5}, "greenlist_ratio of watermarking_config is"),
        (WatermarkingConfig, {"seeding_scheme": "x"}, "is 'x'; allowed: lefthash, selfhash"),
        (WatermarkingConfig, {"context_width": 0}, "context_width of .* is 0; allowed: 1 or more"),
        (SynthIDTextWatermarkingConfig, {"ngram_len": 0, "keys": [1]}, "ngram_len of .* is 0"),
        (WatermarkingConfig, {"ratio": 1}, "has no field ratio; allowed: greenlist_ratio"),
    ],
)
def test_what_cannot_be(kind: Any, given: dict[str, Any], match: str) -> None:
    with pytest.raises(SamplingError, match=match) as caught:
        kind.from_dict(given)
    assert "omit it" in caught.value.hint
