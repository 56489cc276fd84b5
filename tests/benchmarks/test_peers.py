"""The processes and environments of the baselines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import training_step
from benchmarks.peers import environments
from benchmarks.peers.gpt2_weights import draw
from benchmarks.peers.protocol import Setup
from benchmarks.peers.remote import Remote


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
from benchmarks.peers.protocol import serve

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
    with pytest.raises(SystemExit, match="did not generate 4 ids"):
        remote.generate([[1, 2, 3]], 4)
    remote.close()


def test_a_contender_that_ends_ends_the_benchmark(tmp_path, monkeypatch):
    (tmp_path / "talker.py").write_text("raise SystemExit('no')", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SystemExit, match="the process of talker x ended"):
        Remote(Path(sys.executable), "talker", Setup("x", {}, 1, tmp_path))
