"""The sections, floors, targets and rounds of the native decoding benchmark."""

from __future__ import annotations

import pytest

from benchmarks import measuring, native_decoding, native_tables, sections, training_step
from benchmarks.entrants import ENTRANTS, OURS
from benchmarks.peers.remote import Answer

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


def test_everybody_gets_the_same_prompts_and_each_sequence_and_turn_another():
    for section in sections.full():
        prompts = section.prompts(40_478)
        assert prompts == section.prompts(40_478)
        assert {len(prompt) for prompt in prompts} == {section.prompt}
        others = section.prompts(40_478, turn=1) + section.prompts(40_478, turn=2)
        assert len(set(map(tuple, prompts + others))) == 3 * section.batch


def test_the_slow_leave_a_section_but_each_target_keeps_its_peers():
    without_cache = "transformers OpenAIGPT float32"
    trials = {each.name: 1.0 for each in ENTRANTS if FULL["batch 1"].takes(each)}
    trials |= {"OpenVINO int8": 1.7, "llama.cpp q8_0": 1.6, "llama.cpp q4_0": 0.65}
    trials |= {without_cache: 9.0, "transformers OpenAIGPT bfloat16": 16.0}
    trials |= {"transformers GPT2 float32": 9.0, "ogpt int8": 0.4}

    def left(section: str) -> set[str]:
        return trials.keys() - {
            each.name for each in native_decoding.staying(FULL[section], trials)
        }

    slow = {"OpenVINO int8", "transformers GPT2 float32", "transformers OpenAIGPT bfloat16"}
    assert left("batch 1") == slow
    beside_ours, beside_the_peers = 0.4 / 0.6, 0.65 / 0.6
    assert left("batch 8") == {
        name
        for name, second in trials.items()
        if second > (beside_ours if name.startswith(OURS) else beside_the_peers)
    }


def test_whom_ids_are_held_to_stays_however_slow():
    trials = {each.name: 1.0 for each in ENTRANTS if FULL["batch 1"].takes(each)}
    slow = {"transformers GPT2 float32", "plain PyTorch float32", "transformers GPT2 bfloat16"}
    trials |= dict.fromkeys(slow, 100.0)
    gone = trials.keys() - native_decoding.asked_again(FULL["batch 1"], trials)
    assert gone == {"transformers GPT2 bfloat16"}


def native_result() -> measuring.Result:
    """A result in which ogpt takes 1 s, plain PyTorch 2 s, OpenVINO 3 s, transformers 40 s."""
    seconds = {OURS: 1.0, "OpenVINO": 3.0, "plain PyTorch": 2.0, "transformers OpenAIGPT": 40.0}
    there = [each for each in ENTRANTS if each.system in seconds]
    result = measuring.Result("native_decoding", "Native decoding", {}, {})
    trials = {}
    for section in FULL.values():
        trials[section.name] = {e.name: seconds[e.system] for e in there if section.takes(e)}
        for name, second in trials[section.name].items():
            result.samples[f"{name}, {section.name}"] = [second, second]
    load = {"resident_bytes": 12, "peak_bytes": 20, "decoder_bytes": 10, "kernels": "avx2"}
    for dtype in native_decoding.LOADED:
        result.samples[f"{OURS} {dtype}, load"] = [0.4, 0.4]
    result.figures = {
        "short_looks_s": trials,
        "read_bytes_per_s": {section.name: [10e9, 20e9, 60e9] for section in sections.full()},
        "products_ops_per_s": {"float32": 1e12},
        "loads": {dtype: [load, load] for dtype in native_decoding.LOADED},
        "equal_ids": {"batch 1": {"OpenVINO float32": 16}},
        "busy_share_of_the_waiting": 0.01,
        "package_versions": {"openvino": "1"},
        "away": ["llama.cpp q8_0"],
        "ended": {"llama.cpp q4_0": "the process ended: SIGILL, Illegal instruction"},
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
    ended = "llama.cpp q4_0 is left out: the process ended: SIGILL, Illegal instruction."
    assert ended in result.notes


def test_a_target_without_peers_is_not_judged():
    result = native_result()
    for name in [name for name in result.samples if "OpenVINO int4" in name]:
        del result.samples[name]
    native_tables.describe(result, sections.full(), training_step.GPT1)
    assert not any("int4: times" in each["what"] for each in result.targets)
    named = next(table for table in result.tables if table.header[0] == "target")
    assert next(row for row in named.rows if row[0] == "batch 1, int4")[3] == "none of this kind"


def test_a_section_without_baselines_is_named():
    result = native_result()
    trials = result.figures["short_looks_s"]["batch 8"]
    for name in list(trials):
        if not name.startswith(OURS):
            del trials[name], result.samples[f"{name}, batch 8"]
    del result.samples[f"{OURS} float32, batch 8"]
    native_tables.describe(result, sections.full(), training_step.GPT1)
    assert [note for note in result.notes if "No baseline" in note] == [
        "No baseline answered in batch 8."
    ]
    rates = next(table for table in result.tables if table.header[0] == "batch 8")
    assert rates.rows[0][:2] == [f"{OURS} float32", "left out: behind ogpt's best in a short trial"]
    assert len(rates.rows) == len([each for each in ENTRANTS if each.is_ours])


def test_other_work_of_a_peer_ends_the_benchmark():
    trials = {each.name: Answer(1.0, [list(range(16))]) for each in ENTRANTS}
    assert set(native_decoding.equal_ids(trials).values()) == {16}
    trials["llama.cpp q4_0"] = Answer(1.0, [[9] * 16])
    assert native_decoding.equal_ids(trials)["llama.cpp q4_0"] == 0  # 4 bits may differ
    trials["transformers OpenAIGPT float32"] = Answer(1.0, [[0, 1, 2, 3]])  # it gets less to do
    assert native_decoding.equal_ids(trials)["transformers OpenAIGPT float32"] == 4
    trials["llama.cpp f32"] = Answer(1.0, [[0, 1, 9, *range(3, 16)]])
    with pytest.raises(SystemExit, match=r"llama\.cpp f32 generates other ids"):
        native_decoding.equal_ids(trials)
