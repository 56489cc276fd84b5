"""Commands that write files: the arguments they pass on, and one run through all of them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ogpt.cli.main import app
from ogpt.config.pretrain_settings import DataSettings
from ogpt.evaluation.task_scores import TaskScore
from ogpt.recipes.demo import DemoResult
from ogpt.recipes.package_task import TaskComparison
from ogpt.recipes.report import ModelScore, Sample
from tests.cli.stand_ins import SMALL, ok, record

TASK = TaskComparison(
    labels=("asyncio", "email"),
    examples=(80, 10, 20),
    majority=0.5,
    pretrained=TaskScore(0.8, 0.75, 0.85),
    random=TaskScore(0.6, 0.55, 0.65),
)


def test_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = (ModelScore("GPT", 4.5, 90.0, 1.5), ModelScore("trigram", 4.75, 115.6, 1.6))
    samples = (Sample("The", " end."),)
    made = DemoResult(
        Path("runs/demo"),
        scores,
        True,
        "It beats all.",
        samples,
        TASK,
        Path("r.html"),
        "ogpt generate",
        "ogpt serve",
        "http://h/",
    )
    called = record(monkeypatch, "demo", made)
    result = ok("--quiet", "demo")
    assert called.options == {"out": Path("runs/demo")}
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "The end.",
        "",
        "validation set    loss  perplexity  bits/byte",
        "GPT             4.5000       90.00     1.5000",
        "trigram         4.7500      115.60     1.6000",
        "It beats all.",
        "",
        TASK.verdict,
        "",
        "report: r.html",
        "generate with it: ogpt generate",
        "write with it: ogpt serve, then open http://h/",
    ]


def test_train_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    called = record(monkeypatch, "train_tokenizer")
    ok("train-tokenizer", "--data", "a", "b", "--data", "c", "--vocab-size", "99", "--out", "d")
    assert called.arguments == (["a", "c", "b"], 99, Path("d"))
    assert called.options == {"pre_tokenizer": "bert", "encoding": "utf-8", "text_field": "text"}


def test_train_tokenizer_pre_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    called = record(monkeypatch, "train_tokenizer")
    ok("train-tokenizer", "--data", "a", "--out", "d", "--pre-tokenizer", "openai")
    assert called.options["pre_tokenizer"] == "openai"
    words = ["train-tokenizer", "--data", "a", "--out", "d", "--pre-tokenizer", "gpt2"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert (
        "pre_tokenizer is 'gpt2'; allowed: 'openai', 'hf-spacy', 'bert', 'bytes'" in result.stderr
    )


def test_train_tokenizer_default_size(monkeypatch: pytest.MonkeyPatch) -> None:
    called = record(monkeypatch, "train_tokenizer")
    ok("train-tokenizer", "--data", "a", "--out", "d")
    assert called.arguments[1] == 40_000


def test_prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    called = record(monkeypatch, "prepare")
    ok("prepare", "--data", "a", "--tokenizer", "t", "--out", "o", "--valid", "v")
    assert called.arguments == (["a"], Path("t"), Path("o"))
    assert called.options == {"valid": ["v"], "settings": DataSettings()}
    changed = ["--valid-fraction", "0.2", "--encoding", "latin-1"]
    ok("prepare", "--data", "a", "--tokenizer", "t", "--out", "o", *changed)
    assert called.options == {
        "valid": (),
        "settings": DataSettings(valid_fraction=0.2, encoding="latin-1"),
    }


@pytest.mark.parametrize(("flag", "name"), [([], "pretrain"), (["--plan"], "plan")])
def test_pretrain(monkeypatch: pytest.MonkeyPatch, flag: list[str], name: str) -> None:
    called = record(monkeypatch, name, {"tokens_per_s": 1_234.5})
    words = "--preset tiny --data a b --valid v --tokenizer t --init i --out o --config c.toml"
    words += " --backend tensorflow"
    result = ok(
        "pretrain",
        *words.split(),
        "--set",
        "a.b=1",
        "--set",
        "c.d=2",
        "--probes",
        "p",
        "--resume",
        *flag,
    )
    assert called.options == {
        "preset": "tiny",
        "data": ["a", "b"],
        "valid": ["v"],
        "tokenizer": Path("t"),
        "init": Path("i"),
        "out": Path("o"),
        "config": Path("c.toml"),
        "overrides": ["a.b=1", "c.d=2"],
        "resume": True,
        "probes": Path("p"),
        "backend": "tensorflow",
    }
    assert result.stdout == "tokens_per_s  1,234\n"


def test_pretrain_says_what_is_missing() -> None:
    result = CliRunner().invoke(app, ["pretrain", "--data", "a"])
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_story_leaves_a_run(story: Path) -> None:
    facts = json.loads(ok("info", str(story / "run"), "--json").stdout)
    assert facts["run"]["finished"] is True
    assert facts["model"]["n_layer"] == 1
    assert facts["settings"]["training"]["max_steps"] == 2
    assert facts["train"]["step"] == 2
    assert facts["eval"]["loss"] > 0


def test_run_is_not_overwritten(story: Path) -> None:
    result = CliRunner().invoke(
        app, ["pretrain", "--data", str(story / "shards"), "--out", str(story / "run"), *SMALL]
    )
    assert result.exit_code == 1
    assert "already holds a run" in result.stderr
    assert "--resume" in result.stderr


def test_plan_trains_nothing(story: Path) -> None:
    out = story / "planned"
    result = ok("pretrain", "--data", str(story / "shards"), "--out", str(out), *SMALL, "--plan")
    assert "parameters" in result.stdout
    assert "eta_s" in result.stdout
    assert not (out / "checkpoints").exists()


@pytest.mark.parametrize("overrides", [["--set", "model.n_layr=1"], ["--preset", "smal"]])
def test_wrong_settings_are_misuse(story: Path, overrides: list[str]) -> None:
    words = ["pretrain", "--data", str(story / "shards"), "--out", str(story / "none"), *overrides]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "hint: did you mean" in result.stderr
    assert not (story / "none").exists()
