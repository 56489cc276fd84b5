"""The numbers that benchmarks report, and that their contenders do the same work."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import contenders
import decoding
import measuring
import native_decoding
import native_tables
import quantisation
import run
import sections
import tokenising
import training_step
from entrants import ENTRANTS, OURS
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.notices import OgptNotice
from ogpt.weights.arrays import Array
from ogpt.weights.model_weights import folder_config, open_weights
from peers import environments
from peers.gpt2_weights import draw
from peers.protocol import Setup
from peers.remote import Answer, Remote

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
    given = argparse.Namespace(out=tmp_path, smoke=False, threads=2)
    measuring.note_start(given)
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


FULL = {section.name: section for section in sections.full()}


def test_floors_of_native_decoding():
    work = sections.Work(
        {"n_layer": 2, "n_head": 1, "n_embd": 10, "n_positions": 8, "vocab_size": 60}
    )
    assert (work.block_weights, work.head_weights) == (2400, 600)
    # 3,000 weights; at 160 tokens 6,400 keys and values, at 80 half as many
    assert work.most_by_bandwidth(FULL["batch 1"], "float32", 12_000.0 + 12_800.0) == 1.0
    assert work.most_by_bandwidth(FULL["batch 8"], "int4", 1_500.0 + 8 * 6_400.0) == 8.0
    # for 96 tokens, those of 96 steps and of a prompt of 32
    assert work.most_by_arithmetic(FULL["batch 8"], 2 * (128 * 2400 + 96 * 600) / 96) == 1.0
    assert work.most_by_arithmetic(FULL["prompt of 512"], 4802.34375) == 1.0  # 2 (2400 + 600 / 512)


def test_everybody_gets_the_same_prompts_and_each_sequence_another():
    for section in sections.full():
        prompts = section.prompts(40_478)
        assert prompts == section.prompts(40_478)
        assert {len(prompt) for prompt in prompts} == {section.prompt}
        assert len(set(map(tuple, prompts))) == section.batch


def test_the_slow_leave_a_section_but_each_target_keeps_its_peers():
    without_cache = "transformers OpenAIGPT float32"
    looks = {each.name: 1.0 for each in ENTRANTS if FULL["batch 1"].takes(each)}
    looks |= {"OpenVINO int8": 1.7, "llama.cpp q8_0": 1.6, "llama.cpp q4_0": 0.65}
    looks |= {without_cache: 9.0, "transformers OpenAIGPT bfloat16": 16.0}
    looks |= {"transformers GPT2 float32": 9.0, "ogpt int8": 0.4}

    def left(section: str) -> set[str]:
        return looks.keys() - {each.name for each in native_decoding.staying(FULL[section], looks)}

    slow = {"OpenVINO int8", "transformers GPT2 float32", "transformers OpenAIGPT bfloat16"}
    assert left("batch 1") == slow
    beside_ours, beside_the_peers = 0.4 / 0.6, 0.65 / 0.6
    assert left("batch 8") == {
        name
        for name, second in looks.items()
        if second > (beside_ours if name.startswith(OURS) else beside_the_peers)
    }


def test_whom_ids_are_held_to_stays_however_slow():
    looks = {each.name: 1.0 for each in ENTRANTS if FULL["batch 1"].takes(each)}
    slow = {"transformers GPT2 float32", "plain PyTorch float32", "transformers GPT2 bfloat16"}
    looks |= dict.fromkeys(slow, 100.0)
    gone = looks.keys() - native_decoding.asked_again(FULL["batch 1"], looks)
    assert gone == {"transformers GPT2 bfloat16"}


def native_result() -> measuring.Result:
    """Ours takes 1 s for everything, OpenVINO 3 s, plain PyTorch 2 s; others are not there."""
    seconds = {OURS: 1.0, "OpenVINO": 3.0, "plain PyTorch": 2.0, "transformers OpenAIGPT": 40.0}
    there = [each for each in ENTRANTS if each.system in seconds]
    result = measuring.Result("native_decoding", "Native decoding", {}, {})
    looks = {}
    for section in FULL.values():
        looks[section.name] = {e.name: seconds[e.system] for e in there if section.takes(e)}
        for name, second in looks[section.name].items():
            result.samples[f"{name}, {section.name}"] = [second, second]
    load = {"resident_bytes": 12, "peak_bytes": 20, "decoder_bytes": 10, "kernels": "avx2"}
    for dtype in native_decoding.LOADED:
        result.samples[f"{OURS} {dtype}, load"] = [0.4, 0.4]
    result.figures = {
        "short_looks_s": looks,
        "read_bytes_per_s": {section.name: [10e9, 20e9, 60e9] for section in sections.full()},
        "products_ops_per_s": {"float32": 1e12},
        "loads": {dtype: [load, load] for dtype in native_decoding.LOADED},
        "equal_ids": {"batch 1": {"OpenVINO float32": 16}},
        "busy_share_of_the_waiting": 0.01,
        "package_versions": {"openvino": "1"},
        "away": ["llama.cpp q8_0"],
        "seconds": 60.0,
    }
    return result


def test_targets_compare_with_the_best_peer_of_their_kind():
    result = native_result()
    native_tables.describe(result, sections.full(), training_step.GPT1)
    found = {each["what"]: each for each in result.targets}
    assert found["batch 1, int8: times OpenVINO int8"]["found"] == 3.0
    assert found["batch 1, float32: times plain PyTorch float32"]["found"] == 2.0  # not the named
    assert found["batch 8, best precision: times plain PyTorch float32"]["met"] is False
    assert found["batch 1, best precision: times transformers OpenAIGPT float32"]["found"] == 40.0
    assert found["load to first token, int8, s"]["met"] is True
    assert found["resident, int8, times weights and cache"]["met"] is False
    named = next(table for table in result.tables if table.header[0] == "target")
    rows = {row[0]: row for row in named.rows}
    cached = 2 * 12 * 768 * (32 + 128)
    assert rows["batch 1, float32"][2] == "OpenVINO float32: 3.00"
    assert (
        rows["batch 1, float32"][-1] == f"{20e9 / (4 * 116_021_760 + 2 * cached) / (256 / 2):.2f}"
    )
    assert any("llama.cpp q8_0" in note for note in result.notes)


def test_a_target_without_peers_is_not_judged():
    result = native_result()
    for name in [name for name in result.samples if "OpenVINO int4" in name]:
        del result.samples[name]
    native_tables.describe(result, sections.full(), training_step.GPT1)
    assert not any("int4: times" in each["what"] for each in result.targets)
    named = next(table for table in result.tables if table.header[0] == "target")
    assert next(row for row in named.rows if row[0] == "batch 1, int4")[3] == "none of this kind"


def test_other_work_of_a_peer_ends_the_benchmark():
    looks = {each.name: Answer(1.0, [list(range(16))]) for each in ENTRANTS}
    assert set(native_decoding.equal_ids(looks).values()) == {16}
    looks["llama.cpp q4_0"] = Answer(1.0, [[9] * 16])
    assert native_decoding.equal_ids(looks)["llama.cpp q4_0"] == 0  # 4 bits may differ
    looks["transformers OpenAIGPT float32"] = Answer(1.0, [[0, 1, 2, 3]])  # it gets less to do
    assert native_decoding.equal_ids(looks)["transformers OpenAIGPT float32"] == 4
    looks["llama.cpp f32"] = Answer(1.0, [[0, 1, 9, *range(3, 16)]])
    with pytest.raises(SystemExit, match=r"llama\.cpp f32 writes other ids"):
        native_decoding.equal_ids(looks)


def test_an_environment_counts_only_with_the_requirements_of_now(tmp_path, monkeypatch):
    monkeypatch.setenv("OGPT_BENCH_PEERS", str(tmp_path))
    assert not environments.is_set_up("openvino")
    stamp = tmp_path / "openvino" / "requirements.txt"
    stamp.parent.mkdir()
    stamp.write_text("openvino==1\n", "utf-8")
    assert not environments.is_set_up("openvino")
    stamp.write_text(
        Path(environments.__file__).with_name("openvino.txt").read_text("utf-8"), "utf-8"
    )
    assert environments.is_set_up("openvino")


def test_peers_draw_the_same_weights_each_time():
    shape = training_step.SMOKE
    one, other = draw(shape), draw(shape)
    assert all((one[name] == other[name]).all() for name in one)
    assert one["h.1.mlp.c_fc.weight"].shape == (32, 128)
    assert abs(one["ln_f.weight"].mean() - 1) < 0.1 > abs(one["ln_f.bias"].mean())


TALKER = """
from peers.protocol import serve

class Echo:
    def generate(self, prompts, new):
        print("a library talks")
        return [prompt[:new] for prompt in prompts]

    def read(self, prompts):
        return [prompt[-1] for prompt in prompts]

serve(("numpy",), lambda setup: Echo())
"""


def test_a_contender_follows_orders_and_is_counted(tmp_path, monkeypatch):
    (tmp_path / "talker.py").write_text(TALKER, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    remote = Remote(Path(sys.executable), "talker", Setup("x", {"n_layer": 1}, 1, tmp_path))
    assert remote.versions.keys() == {"numpy"}
    assert remote.generate([[1, 2, 3], [4, 5, 6]], 2).ids == [[1, 2], [4, 5]]
    answer = remote.read([[1, 2, 3]])
    assert answer.ids == [[3]]
    assert answer.seconds > 0 <= remote.cpu_seconds()
    with pytest.raises(SystemExit, match="did not write 4 ids"):
        remote.generate([[1, 2, 3]], 4)
    remote.close()


def test_a_contender_that_ends_ends_the_benchmark(tmp_path, monkeypatch):
    (tmp_path / "talker.py").write_text("raise SystemExit('no')", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SystemExit, match="the process of talker x ended"):
        Remote(Path(sys.executable), "talker", Setup("x", {}, 1, tmp_path))


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
        reference = quantisation.Reference.of(one[rows])
        found.add(other[rows], reference, [3, 0, 6, 1, 1][rows])
    assert found.loss == pytest.approx(-other[range(5), [3, 0, 6, 1, 1]].sum())
    assert found.divergence == pytest.approx((np.exp(one) * (one - other)).sum())
    assert found.same == (one.argmax(1) == other.argmax(1)).sum()


def two_steps(name: str) -> list[tuple[float, float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OgptNotice)  # that bfloat16 is emulated, where it is
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
