"""A run's events are read back, also while it writes them."""

import json
from pathlib import Path

import pytest

from ogpt.errors import DamagedData, SourceNotFound
from ogpt.recipes.run_metrics import read_metrics
from tests.recipes.conftest import events, write_events


def test_events_are_sorted_by_kind_and_step(run: Path) -> None:
    metrics = read_metrics(run)
    assert [event["step"] for event in metrics.train] == list(range(10, 201, 10))
    assert [event["step"] for event in metrics.valid] == [50, 100, 150, 200]


def test_of_a_step_told_twice_the_last_counts(run: Path) -> None:
    again = {"event": "eval", "step": 100, "loss": 1.5}
    write_events(run, [*events(), again])
    valid = read_metrics(run).valid
    assert [event["step"] for event in valid] == [50, 100, 150, 200]
    assert valid[1]["loss"] == 1.5


def test_probes_are_sorted_by_step_and_name(run: Path) -> None:
    probes = [
        {"event": "probe", "step": step, "name": name, "value": value}
        for step, name, value in ((50, "sst2", 0.5), (50, "cola", 0.0), (100, "cola", 0.1))
    ]
    write_events(run, [*events(), *probes, probes[1] | {"value": 0.2}])
    found = [(event["step"], event["name"], event["value"]) for event in read_metrics(run).probes]
    assert found == [(50, "cola", 0.2), (50, "sst2", 0.5), (100, "cola", 0.1)]


def test_a_last_line_that_is_not_whole_is_left_out(run: Path) -> None:
    whole = read_metrics(run)
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"event": "train", "step": 21')
    assert read_metrics(run) == whole


def test_times_and_medians(run: Path) -> None:
    speed = {"tokens": 100, "mfu": 0.2}
    write_events(
        run,
        [
            {"event": "train", "step": 10, "loss": 4.0, "tokens_per_s": 500.0, **speed},
            {"event": "train", "step": 20, "loss": 4.0, "tokens_per_s": 1000.0, **speed},
            {"event": "train", "step": 25, "loss": 4.0, "tokens_per_s": 100.0, **speed},
            {"event": "eval", "step": 25, "loss": 4.0},
        ],
    )
    metrics = read_metrics(run)
    assert metrics.train_seconds == pytest.approx(2.0 + 1.0 + 5.0)
    assert metrics.tokens_per_s == 500.0
    assert metrics.mfu == 0.2


def test_a_folder_without_metrics_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"there is no .*metrics\.jsonl") as caught:
        read_metrics(tmp_path)
    assert caught.value.hint == "pass the folder of a run"


@pytest.mark.parametrize("line", ["no json", '{"step": 1}', '{"event": "train"}', "[]"])
def test_a_damaged_line_is_named(run: Path, line: str) -> None:
    file = run / "metrics.jsonl"
    file.write_text(f"{json.dumps(events()[0])}\n{line}\n", "utf-8")
    with pytest.raises(DamagedData, match=r"line 2 of .* is not an event") as caught:
        read_metrics(run)
    assert line in str(caught.value)
    assert caught.value.hint == "delete the line"


def test_a_run_without_an_evaluation_is_an_error(run: Path) -> None:
    write_events(run, events(40))
    with pytest.raises(DamagedData, match="holds 4 train events and 0 evaluations") as caught:
        read_metrics(run)
    assert "--resume" in caught.value.hint
