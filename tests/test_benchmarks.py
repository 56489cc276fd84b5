"""The numbers that benchmarks report, and that their contenders do the same work."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import contenders
import decoding
import measuring
import quantisation
import run
import tokenising
import training_step
from ogpt.decoding.native.decoder import NativeDecoder
from ogpt.weights.arrays import Array
from ogpt.weights.folder import folder_config, open_weights

BENCHMARKS = Path(measuring.__file__).parent
TINY = contenders.Setup(
    {"n_layer": 4, "n_head": 2, "n_embd": 64, "n_positions": 32, "vocab_size": 211},
    batch=2,
    pdrop=0.0,
    threads=1,
    compiled=False,
)


def test_ratios_are_taken_round_by_round():
    assert measuring.ratios([1.0, 2.0, 4.0], [4.0, 4.0, 4.0]) == [4.0, 2.0, 1.0]
    with pytest.raises(ValueError, match="shorter"):
        measuring.ratios([1.0, 2.0], [1.0])


def test_rates_spread_and_floor():
    assert measuring.rates(10.0, [2.0, 5.0]) == [5.0, 2.0]
    assert measuring.spread([3.0, 1.0, 2000.0], 1) == "3.0 (1.0 to 2,000.0)"
    assert measuring.floor_seconds(8e9, 2e9) == 4.0


def test_equal_ids_are_counted_up_to_the_first_difference():
    assert measuring.agreeing([1, 2, 3, 4], [1, 2, 9, 4]) == 2
    assert measuring.agreeing([1, 2], [1, 2]) == 2


def test_contenders_take_turns():
    calls = []

    def contender(name):
        return lambda: calls.append(name) or len(calls)

    found = measuring.interleave({"a": contender("a"), "b": contender("b")}, 3)
    assert calls == ["a", "b"] * 3
    assert found == {"a": [1, 3, 5], "b": [2, 4, 6]}


def result_with_pairs() -> measuring.Result:
    samples = {"ogpt": [1.0, 1.0, 2.0], "peer": [4.0, 6.0, 6.0]}
    result = measuring.Result("made_up", "Made up", {}, samples)
    assert result.compare("ogpt", "peer") == 4.0
    result.add_pairs()
    result.target("times peer", 4.0, at_least=3)
    result.target("share of memory", 0.9, at_most=2 / 3)
    return result


def test_a_saved_result_holds_samples_pairs_and_facts(tmp_path):
    given = argparse.Namespace(out=tmp_path, smoke=False, threads=2, load_before=0.1)
    measuring.save(result_with_pairs(), given)
    values = json.loads((tmp_path / "made_up.json").read_text("utf-8"))
    assert values["samples"]["peer"] == [4.0, 6.0, 6.0]
    assert values["pairs"] == {"ogpt / peer": [4.0, 6.0, 3.0]}
    assert [target["met"] for target in values["targets"]] == [True, False]
    assert {"python", "torch", "transformers"} <= set(values["versions"])
    assert values["machine"]["processor"]
    run.write_page(tmp_path)
    page = (tmp_path / "README.md").read_text("utf-8")
    assert "| ogpt / peer | 4.00 (3.00 to 6.00) |" in page
    assert "| share of memory | at most 0.667 | 0.90 | no |" in page


def test_the_floor_of_decoding_reads_all_weights_but_the_positions():
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 4, "n_positions": 8, "vocab_size": 10}
    assert decoding.weight_bytes(shape, torch.bfloat16) == 2 * (10 * 4 + 12 * 16 + 13 * 4)


def test_seconds_per_token_leave_the_prompt_out():
    slow_at_end = [5.0 + number for number in range(40)] + [45.0 + 3 * n for n in range(40)]
    runs = [decoding.Run([], slow_at_end)]
    assert decoding.per_token(runs, at_end=False) == 1.0
    assert decoding.per_token(runs, at_end=True) == 3.0


def test_texts_are_encoded_in_batches_of_like_size():
    texts = ["a" * (tokenising.BATCH_CHARACTERS // 2)] * 5
    assert [len(batch) for batch in tokenising.in_batches(texts)] == [2, 2, 1]


@pytest.mark.parametrize("change", [quantisation.with_outliers, quantisation.with_shears])
def test_weights_are_changed_and_the_function_is_not(tmp_path, change):
    quantisation.stand_in(tmp_path)
    config = folder_config(tmp_path)
    weights = {name: array.data for name, array in open_weights(tmp_path).items()}
    kept = {name: data.copy() for name, data in weights.items()}
    changed = change(weights, config)
    found = [
        NativeDecoder(config, {n: Array("float32", data) for n, data in each.items()})
        for each in (weights, changed)
    ]
    one, other = (decoder.extend(0, [1, 2, 3, 4], "all") for decoder in found)
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert all(np.array_equal(weights[name], kept[name]) for name in kept)
    name = "transformer.h.0.attn.c_attn.weight"
    columns = (changed[name] != weights[name]).any(0).nonzero()[0]
    assert len(columns) == quantisation.CHANNELS
    assert columns.min() >= 2 * config.n_embd  # values, not queries or keys
    assert np.abs(changed[name]).max() > 5 * np.abs(weights[name]).max()


def test_sums_over_tokens_are_those_of_the_probabilities():
    draw = np.random.default_rng(0)
    one, other = (quantisation.log_softmax(draw.normal(size=(5, 7))) for _ in range(2))
    np.testing.assert_allclose(np.exp(one).sum(1), 1)
    found = quantisation.Sums()
    for rows in (slice(2), slice(2, 5)):
        found.add(other[rows], one[rows], [3, 0, 6, 1, 1][rows])
    assert found.loss == pytest.approx(-other[range(5), [3, 0, 6, 1, 1]].sum())
    assert found.divergence == pytest.approx((np.exp(one) * (one - other)).sum())
    assert found.same == (one.argmax(1) == other.argmax(1)).sum()


def two_steps(name: str) -> list[tuple[float, float]]:
    step = contenders.CONTENDERS[name](TINY)
    return [step(), step()]


@pytest.fixture(scope="module")
def ours() -> list[tuple[float, float]]:
    return two_steps("ogpt")


def test_ours_and_the_plain_loop_do_the_same_work(ours):
    assert not training_step.differ(ours, two_steps("plain PyTorch"))


real_attention = F.scaled_dot_product_attention
FAULTS = {
    "another activation": ("gelu", lambda x, approximate: F.relu(x)),
    "no scale": (
        "scaled_dot_product_attention",
        lambda *qkv, dropout_p, is_causal: real_attention(*qkv, is_causal=True, scale=1.0),
    ),
    "no mask": (
        "scaled_dot_product_attention",
        lambda *qkv, dropout_p, is_causal: real_attention(*qkv),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_other_work_is_noticed(ours, fault, monkeypatch):
    name, wrong = FAULTS[fault]
    monkeypatch.setattr(F, name, wrong)
    assert training_step.differ(ours, two_steps("plain PyTorch"))


@pytest.mark.slow
@pytest.mark.timeout(900)  # some twenty processes import PyTorch, perhaps on a busy machine
def test_every_benchmark_runs_at_tiny_size(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--smoke", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--threads", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = {file.stem: json.loads(file.read_text("utf-8")) for file in tmp_path.glob("*.json")}
    assert set(written) == {*run.NAMES, "gpu_training_step", "gpu_decoding"} - {"gpu"}
    for values in written.values():
        assert all(len(seconds) == 2 for seconds in values["samples"].values())
    assert written["decoding"]["figures"]["equal_ids_float32"] == decoding.smoke_size()[1]
    assert "## Training step" in (tmp_path / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_cost_of_rounding_runs_at_tiny_size(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "quantisation.py"), "--smoke", "--out"]
    subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=True)
    figures = json.loads((tmp_path / "quantisation.json").read_text("utf-8"))["figures"]
    assert len(figures) == 12
    assert abs(figures["outliers, float32"]["perplexity_percent"]) < 0.01
    assert 0 < figures["as trained, int8"]["kl_divergence"] < 0.01
    assert "## What rounding costs" in (tmp_path / "README.md").read_text("utf-8")
