"""The demo from end to end on a few kilobytes, stopped and started again, winning and losing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from html import escape
from pathlib import Path
from typing import Any

import pytest

import ogpt
from ogpt.errors import BackendMissing, CheckpointError, ConfigError, TrainingInterrupted
from ogpt.evaluation.ngrams import NgramLosses
from ogpt.recipes import demo as recipe
from ogpt.recipes import package_task
from ogpt.recipes.demo import demo, verdict
from ogpt.recipes.report import ModelScore
from ogpt.serving.server_settings import ServerSettings
from tests.recipes.conftest import write_library

TOY = (
    "tokenizer.vocab_size=120",
    "model.n_layer=1",
    "model.n_head=2",
    "model.n_embd=32",
    "model.n_positions=64",
    "training.batch_size=4",
    "training.micro_batch_size=4",
    "training.max_steps=30",
    "training.warmup_steps=5",
    "training.eval_every=10",
    "training.checkpoint_every=10",
    "training.log_every=1",
    "training.compile=off",
    "training.threads=1",
)


class Events:
    """A Reporter that keeps all; it may stop everything at a step, as a kill would."""

    def __init__(self, stop_at: int = 0) -> None:
        self.stop_at = stop_at
        self.all: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, /, **fields: Any) -> None:
        self.all.append((kind, fields))
        if kind == "train" and fields["step"] == self.stop_at:
            raise Killed

    def of(self, kind: str, task: str = "pretraining") -> list[dict[str, Any]]:
        return [fields for name, fields in self.all if (name, fields.get("task")) == (kind, task)]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_library(tmp_path / "library")
    monkeypatch.setattr("ogpt.data.builtin.library_folder", lambda: tmp_path / "library")
    monkeypatch.setattr(recipe, "NEW_TOKENS", 20)
    monkeypatch.setattr(package_task, "SETTINGS", ("finetune.epochs=1", "finetune.batch_size=8"))


def test_the_whole_story(tmp_path: Path) -> None:
    out, events = tmp_path / "my run", Events()
    result = demo(out, reporter=events, overrides=TOY)

    assert [score.name for score in result.scores] == ["GPT", "trigram", "bigram", "unigram"]
    assert all(score.bits_per_byte > 0 for score in result.scores)
    assert result.beats_ngrams == (result.scores[0].loss < min(s.loss for s in result.scores[1:]))
    assert [sample.prompt for sample in result.samples] == list(recipe.PROMPTS)
    assert all(sample.text for sample in result.samples)

    # GPT and n-grams are measured on the same tokens
    ngrams = json.loads((out / "ngrams.json").read_text())
    assert events.of("eval")[-1]["tokens"] == ngrams["tokens"]

    page = result.report.read_text("utf-8")
    assert result.report == out / "report.html"
    for number in (f"{result.scores[0].loss:.4f}", f"{result.scores[1].loss:.4f}"):
        assert number in page

    # the task is learned twice, and shown
    assert len(events.of("eval", "fine-tuning")) == 2
    assert result.task.labels == ("asyncio", "email", "http")
    assert result.task.verdict in page
    for score in (result.task.pretrained, result.task.random):
        assert 0 <= score.low <= score.value <= score.high <= 1
        assert f"{score.value:.1%}" in page

    # the commands that are shown work, and the report has them
    assert result.command == f"ogpt generate '{out}' \"The function returns\""
    assert result.serve_command == f"ogpt serve '{out}'"
    assert result.page_address == f"http://127.0.0.1:{ServerSettings().port}/"
    assert escape(result.serve_command) in page
    assert f'<a href="{result.page_address}">' in page
    assert ogpt.generate(out, recipe.PROMPTS[0], max_new_tokens=3)[0].text


def test_done_stages_are_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    first = demo(out, overrides=TOY)
    monkeypatch.setattr(recipe, "generate", None)
    monkeypatch.setattr(recipe, "ngram_losses", None)
    events = Events()
    assert demo(out, reporter=events, overrides=TOY) == first
    assert events.of("train") == events.of("train", "fine-tuning") == []


def test_stopped_while_training_it_resumes_from_the_last_checkpoint(tmp_path: Path) -> None:
    whole = demo(tmp_path / "whole", overrides=TOY)
    out = tmp_path / "run"
    with pytest.raises(Killed):
        demo(out, reporter=Events(stop_at=17), overrides=TOY)
    assert not (out / "report.html").exists()
    events = Events()
    resumed = demo(out, reporter=events, overrides=TOY)
    assert [event["step"] for event in events.of("train")] == list(range(11, 31))
    assert resumed.scores == whole.scores
    assert resumed.samples == whole.samples
    assert resumed.task == whole.task


def test_stopped_while_fine_tuning_it_resumes_there(tmp_path: Path) -> None:
    whole = demo(tmp_path / "whole", overrides=TOY)
    out = tmp_path / "run"

    def press(kind: str, /, **fields: Any) -> None:
        if kind == "plan" and fields["task"] == "fine-tuning":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises((TrainingInterrupted, KeyboardInterrupt)):
        demo(out, reporter=press, overrides=TOY)
    assert not (out / "report.html").exists()
    events = Events()
    resumed = demo(out, reporter=events, overrides=TOY)
    assert events.of("train") == []
    assert resumed.task == whole.task


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path: Path) -> None:
    def press(kind: str, /, **fields: Any) -> None:
        if kind == "train" and fields["step"] == 13:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(TrainingInterrupted, match=r"stopped after step 1[34] of 30") as caught:
        demo(tmp_path / "run", reporter=press, overrides=TOY)
    assert caught.value.hint == "start the demo again to resume"
    events = Events()
    demo(tmp_path / "run", reporter=events, overrides=TOY)
    assert events.of("train")[0]["step"] in (14, 15)


def test_stopped_after_training_it_resumes_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(recipe, "generate", killed)
        demo(tmp_path / "run", overrides=TOY)
    events = Events()
    result = demo(tmp_path / "run", reporter=events, overrides=TOY)
    assert events.of("train") == []
    assert result.report.exists()


def test_it_never_claims_to_have_won_when_it_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, losses, won in (
        ("lost", NgramLosses(9.0, 0.02, 0.01, 1), False),
        ("won", NgramLosses(99.0, 98.0, 97.0, 1), True),
    ):
        monkeypatch.setattr(recipe, "ngram_losses", lambda *_, losses=losses: losses)
        result = demo(tmp_path / name, overrides=TOY)
        assert result.beats_ngrams is won
        said = result.verdict + result.report.read_text("utf-8")
        assert ("It beats" in said) is won
        assert ("It does not beat the trigram and bigram models" in said) is not won


def score(name: str, loss: float) -> ModelScore:
    return ModelScore(name, loss, 1.0, 1.0)


def test_verdicts() -> None:
    trigram, bigram = score("trigram", 4.5), score("bigram", 5.0)
    assert verdict([score("GPT", 4.4), trigram, bigram]) == (
        "It beats all 2 n-gram models: its loss on the validation text is 4.400 nats per token, "
        "that of the trigram model 4.500."
    )
    assert verdict([score("GPT", 4.5), trigram, bigram]) == (
        "It does not beat the trigram model: its loss on the validation text is 4.500 nats per "
        "token, that of the trigram model 4.500."
    )
    assert verdict([score("GPT", 5.0), trigram, bigram]).startswith(
        "It does not beat the trigram and bigram models: "
    )


def test_other_settings_than_those_it_was_begun_with(tmp_path: Path) -> None:
    demo(tmp_path / "run", overrides=TOY)
    with pytest.raises(ConfigError, match=r"model\.n_embd"):
        demo(tmp_path / "run", overrides=(*TOY, "model.n_embd=64"))


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    out = tmp_path / "run"
    demo(out, overrides=TOY)
    (out / "samples.json").write_text("[{", "utf-8")
    with pytest.raises(CheckpointError, match=r"samples\.json is damaged: ") as caught:
        demo(out, overrides=TOY)
    assert caught.value.hint == "delete the file and start the demo again"


@pytest.mark.parametrize(
    ("module", "message"),
    [("matplotlib", "needs matplotlib"), ("sklearn", "scores need scikit-learn")],
)
def test_without_what_the_report_needs_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, message: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BackendMissing, match=message):
        demo(tmp_path / "run", overrides=TOY)
    assert not (tmp_path / "run").exists()


CHILD = """
import sys
from pathlib import Path
from ogpt.data import builtin
from ogpt.recipes import demo, package_task
package_task.SETTINGS = ("finetune.epochs=1", "finetune.batch_size=8")
builtin.library_folder = lambda: Path(sys.argv[1])
demo.NEW_TOKENS = 20
demo.demo(Path(sys.argv[2]), overrides=sys.argv[3:])
"""


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole = demo(tmp_path / "whole", overrides=TOY)
    out = tmp_path / "run"
    command = [sys.executable, "-c", CHILD, str(tmp_path / "library"), str(out), *TOY]
    for sign in (
        "tokenizer",
        "shards",
        "checkpoints/step-00000020",
        "ngrams.json",
        "finetuning/pretrained",
    ):
        child = subprocess.Popen(command, stderr=subprocess.PIPE)
        while not (out / sign).exists() and child.poll() is None:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        _, said = child.communicate()
        assert child.returncode in (0, -signal.SIGKILL), said.decode()
    subprocess.run(command, check=True)
    finished = demo(out, overrides=TOY)
    assert finished.scores == whole.scores
    assert finished.samples == whole.samples
    assert finished.task == whole.task
