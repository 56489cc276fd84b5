"""The numbers that benchmarks report, and the page of their results."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from benchmarks import decoding, measuring, run, tokenizing


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


def test_texts_are_encoded_in_batches_of_like_size():
    texts = ["a" * (tokenizing.BATCH_CHARACTERS // 2)] * 5
    assert [len(batch) for batch in tokenizing.in_batches(texts)] == [2, 2, 1]
