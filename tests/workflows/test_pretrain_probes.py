"""Zero-shot probes are measured during pre-training, and stay so when a run resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ogpt import notices
from ogpt.errors import SourceNotFound
from ogpt.evaluation.zero_shot_probes import ZeroShotProbes
from ogpt.recipes.run_metrics import read_metrics
from ogpt.workflows.plan import plan
from ogpt.workflows.pretrain import pretrain
from tests.evaluation.probe_files import FILES, write_probes
from tests.training.corpus import write_text

SETTINGS = [
    *("model.n_layer=1", "model.n_head=2", "model.n_embd=16", "model.n_positions=16"),
    *("training.max_steps=4", "training.batch_size=4", "training.micro_batch_size=2"),
    *("training.warmup_steps=2", "training.eval_every=2", "training.checkpoint_every=3"),
    *("training.log_every=1", "training.threads=1", "training.compile=off"),
    "training.probe_rows=0",
]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    write_text(file)
    return file


def run(text: Path, out: Path, **options: Any) -> Any:
    overrides = [*SETTINGS, "tokenizer.vocab_size=150"]
    with notices.collecting():
        return pretrain(data=text, out=out, **{"overrides": overrides, **options})


def probes(out: Path) -> list[tuple[int, str]]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return [(each["step"], each["name"]) for each in events if each["event"] == "probe"]


def test_each_evaluation_has_its_probes(text: Path, tmp_path: Path) -> None:
    folder = write_probes(tmp_path / "probes")
    events: list[str] = []
    run(text, tmp_path / "run", probes=folder, reporter=lambda kind, **_: events.append(kind))
    assert probes(tmp_path / "run") == [(step, name) for step in (2, 4) for name in FILES]
    assert events.count("probe") == 2 * len(FILES)
    first = read_metrics(tmp_path / "run").probes[0]
    assert {"event", "task", "step", "name", "metric", "value", "normalized", "rows"} <= set(first)
    assert first["name"] == "cola"
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["probes"] == str(folder)


class Stopped(Exception):
    """A kill."""


def test_a_run_resumes_with_its_probes(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = write_probes(tmp_path / "probes", "cola", "dprd"), tmp_path / "run"
    run(text, tmp_path / "whole", probes=folder)

    def stopping(kind: str, **fields: Any) -> None:
        if kind == "train" and fields["step"] == 3:
            raise Stopped

    with pytest.raises(Stopped):
        run(text, out, probes=folder, reporter=stopping)
    assert probes(out) == [(2, "cola"), (2, "dprd")]
    run(text, out, resume=True)
    assert probes(out) == [(2, "cola"), (2, "dprd"), (4, "cola"), (4, "dprd")]
    assert read_metrics(out).probes == read_metrics(tmp_path / "whole").probes


def test_a_run_killed_in_its_last_evaluation_probes_it_once(text: Path, tmp_path: Path) -> None:
    folder, out = write_probes(tmp_path / "probes", "cola", "dprd"), tmp_path / "run"

    def stopping(kind: str, **fields: Any) -> None:
        if kind == "probe" and (fields["step"], fields["name"]) == (4, "dprd"):
            raise Stopped

    with pytest.raises(Stopped):
        run(text, out, probes=folder, reporter=stopping)
    run(text, out, resume=True)
    assert probes(out) == [(2, "cola"), (2, "dprd"), (4, "cola"), (4, "dprd")]


def test_a_plan_counts_the_probes(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ZeroShotProbes, "seconds", lambda self, score: 100.0)
    overrides = [*SETTINGS, "tokenizer.vocab_size=150", "training.max_steps=5"]
    with notices.collecting():
        found = plan(
            data=text,
            out=tmp_path / "run",
            probes=write_probes(tmp_path / "probes", "cola"),
            overrides=overrides,
        )
    assert found.probes_s == 300  # after steps 2, 4 and 5
    assert 300 < found.eta_s < 400


def test_what_is_missing_is_found_before_training(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("ogpt.workflows.pretrain_setup.open_sources", pytest.fail)
    with pytest.raises(SourceNotFound, match="no set of the zero-shot probes"):
        run(text, tmp_path / "run", probes=tmp_path / "empty")
    with pytest.raises(SourceNotFound, match="no set of the zero-shot probes"):
        plan(data=text, out=tmp_path / "run", probes=tmp_path / "empty", overrides=SETTINGS)
    assert not (tmp_path / "run" / "run.json").exists()


def test_notices_come_before_training(text: Path, tmp_path: Path) -> None:
    folder = write_probes(tmp_path / "probes", "cola", "race")
    told: list[str] = []
    events: list[str] = []

    def listen(notice: notices.Notice) -> None:
        assert "train" not in events
        told.append(notice.kind)

    overrides = [*SETTINGS, "tokenizer.vocab_size=150", "training.probe_rows=4"]
    with notices.listening(listen):
        pretrain(
            data=text,
            out=tmp_path / "run",
            probes=folder,
            overrides=overrides,
            reporter=lambda kind, **_: events.append(kind),
        )
    assert "train" in events
    assert {"probes-missing", "probe-rows-cut", "examples-cut"} <= set(told)
    assert {event["rows"] for event in read_metrics(tmp_path / "run").probes} == {4}
