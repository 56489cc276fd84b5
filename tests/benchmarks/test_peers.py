"""The processes and environments of the baselines."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import native_decoding, sections, training_step
from benchmarks.entrants import OURS, Entrant
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


MORTAL = """
import os, signal, sys
from benchmarks.peers.protocol import serve

class Mortal:
    def __init__(self, setup):
        self.life = {"load": 0, "prefill": 1, "middle": 3, "lives": 99, "stops": 3}[setup.variant]
        self.stops = setup.variant == "stops"
        self.orders = -1
        self.generate([], 0)

    def generate(self, prompts, new):
        self.orders += 1
        if self.orders == self.life:
            if self.stops:
                sys.exit(3)
            os.kill(os.getpid(), signal.SIGILL)
        return [[7] * new for _ in prompts]

serve(("numpy",), Mortal)
"""


def test_a_baseline_that_dies_is_named_and_left_out(tmp_path, monkeypatch, capsys):
    """At load, at the first prompt or between two rounds; the others answer to the end."""
    (tmp_path / "mortal.py").write_text(MORTAL, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OGPT_BENCH_PEERS", str(tmp_path))
    baselines = [
        Entrant("peer", precision, "mortal", variant)
        for precision, variant in (
            ("float32", "lives"),
            ("int8", "load"),
            ("bfloat16", "prefill"),
            ("int4", "middle"),
            ("int2", "stops"),
        )
    ]
    entrants = [Entrant(OURS, "float32", "mortal", "lives"), *baselines]
    monkeypatch.setattr(native_decoding, "ENTRANTS", entrants)

    def everybody(section, trials):
        return [each for each in entrants if each.name in trials]

    monkeypatch.setattr(native_decoding, "staying", everybody)  # whatever the machine is doing
    monkeypatch.setattr(native_decoding, "REST", 0.0)
    given = Namespace(smoke=True, threads=1)
    stage = native_decoding.Stage(given, training_step.SMOKE, tmp_path)
    assert list(stage.ended) == ["peer int8"]
    section, other = sections.smoke()[1:3]
    try:
        found = native_decoding.measure_section(stage, section, lambda: 1.0, 3)
        again = native_decoding.measure_section(stage, other, lambda: 1.0, 2)
    finally:
        stage.close()
    rest = {"ogpt float32", "peer float32"}
    for (trial, samples, machine), rounds in ((found, 3), (again, 2)):
        assert trial.keys() == samples.keys() == rest
        assert machine == [1.0] * rounds
        assert all(len(seconds) == rounds for seconds in samples.values())
    illegal = "the process of mortal {} ended: SIGILL, Illegal instruction"
    stopped = "the process of mortal stops ended: exit status 3; its error is above"
    assert stage.ended == {
        "peer int8": illegal.format("load"),
        "peer bfloat16": illegal.format("prefill"),
        "peer int4": illegal.format("middle"),
        "peer int2": stopped,
    }
    shown = capsys.readouterr().err
    for name, how in stage.ended.items():
        assert f"{name} is left out: {how}" in shown
    monkeypatch.setattr(native_decoding, "ENTRANTS", [Entrant(OURS, "int8", "mortal", "load")])
    with pytest.raises(SystemExit, match="mortal load ended"):  # nothing to measure without it
        native_decoding.Stage(given, training_step.SMOKE, tmp_path)


def test_a_contender_that_ends_ends_the_benchmark(tmp_path, monkeypatch):
    (tmp_path / "talker.py").write_text("raise SystemExit('no')", "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SystemExit, match="the process of talker x ended"):
        Remote(Path(sys.executable), "talker", Setup("x", {}, 1, tmp_path))
