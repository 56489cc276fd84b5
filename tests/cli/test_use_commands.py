"""The commands that measure and show a model: what they hand on, what they print where."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ogpt.cli.main import app
from ogpt.evaluation.comparison import Comparison
from ogpt.evaluation.zero_shot_probes import ProbeScore
from ogpt.generation.texts.text_scores import Score
from ogpt.workflows.convert import Conversion
from ogpt.workflows.doctor import Check
from ogpt.workflows.evaluate_probes import ProbesResult
from ogpt.workflows.quantize import Quantization
from tests.cli.stand_ins import ok, record


class TestEvaluate:
    def test_handed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "evaluate", {"loss": 2.5})
        result = ok("evaluate", "m", "--data", "a", "b", "--stride", "8", "--encoding", "latin-1")
        assert called.arguments == (Path("m"), ["a", "b"])
        assert called.options == {
            "stride": 8,
            "encoding": "latin-1",
            "text_field": "text",
            "out": None,
            "split": None,
            "on_too_long": "truncate",
            "decoder": "auto",
            "dtype": "auto",
            "threads": 0,
        }
        assert result.stdout == "loss  2.5\n"
        ok("evaluate", "m", "--data", "a", "--on-too-long", "skip")
        assert called.options["on_too_long"] == "skip"

    def test_probes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        score = ProbeScore("cola", "matthews", 0.1, 0.05, 0.15, 0.286, 1043)
        called = record(monkeypatch, "evaluate_probes", ProbesResult({"cola": score}))
        words = ["evaluate", "m", "--probes", "p", "--probe-rows", "9"]
        result = ok(*words, "--threads", "1", "--data", "a")
        assert called.arguments == (Path("m"), Path("p"))
        named = {"decoder": "auto", "dtype": "auto", "threads": 1}
        assert called.options == {"probe_rows": 9, **named}
        assert result.stdout.splitlines() == [
            "probe     metric       value  95 % interval     normalized    rows",
            "cola      matthews    0.1000  0.0500 to 0.1500        0.29   1,043",
        ]
        assert "--data has no effect: --probes measures its own sets" in result.stderr
        assert json.loads(ok(*words, "--json").stdout)["probes"]["cola"]["value"] == 0.1

    def test_rows_of_no_probes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "evaluate", {"loss": 2.5})
        result = ok("evaluate", "m", "--data", "a", "--probe-rows", "9")
        assert "--probe-rows has no effect: --probes is not passed" in result.stderr

    def test_for_real(self, story: Path) -> None:
        (story / "short.txt").write_text("The dog sat on the mat. The cat sat on the log.\n")
        result = ok("evaluate", str(story / "run"), "--data", str(story / "short.txt"), "--json")
        facts = json.loads(result.stdout)
        assert facts["loss"] > 0
        assert facts["perplexity"] > 1
        assert facts["bits_per_byte"] > 0


SCORES = [
    Score("a b", -3.0, -1.5, -1.0, 4.5, ["a", "b"], [-1.0, -2.0]),
    Score("c", -2.0, -2.0, -2.0, 7.4, ["c"], [-2.0]),
]


class TestScore:
    def test_a_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "score", SCORES[:1])
        result = ok("score", "m", "x a b", "--stride", "3", "--dtype", "int8")
        assert called.arguments == (Path("m"), "x a b")
        assert called.options == {
            "choices": (),
            "stride": 3,
            "decoder": "auto",
            "dtype": "int8",
            "threads": 0,
        }
        assert result.stdout.splitlines() == [
            "log-probability  -3",
            "per token        -1.5",
            "per byte         -1",
            "perplexity       4.5",
            "scored tokens    2",
        ]

    def test_choices(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "score", SCORES)
        result = ok("score", "m", "x", "--choices", "a b", "--choices", "c")
        assert called.options["choices"] == ["a b", "c"]
        assert result.stdout.splitlines() == [
            "        sum       mean   per byte  choice",
            "   -3.0000    -1.5000*   -1.0000*  a b",
            "   -2.0000*   -2.0000    -2.0000   c",
        ]

    def test_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "score", SCORES)
        many = json.loads(ok("score", "m", "x", "--choices", "a b", "--json").stdout)
        assert [one["text"] for one in many["choices"]] == ["a b", "c"]
        alone = json.loads(ok("score", "m", "x", "--json").stdout)
        assert (alone["log_prob"], alone["tokens"]) == (-3.0, ["a", "b"])

    def test_for_real(self, story: Path) -> None:
        words = ["score", str(story / "run"), "-", "--json", "--choices", "cat"]
        result = CliRunner().invoke(app, words, input="the dog sat on the\n")
        assert result.exit_code == 0
        [found] = json.loads(result.stdout)["choices"]
        assert found["log_prob"] == pytest.approx(sum(found["log_probs"]))


class TestQuantize:
    MADE = Quantization(
        Path("q"),
        "int4",
        4 << 20,
        1 << 20,
        Comparison(1_200, 3.0, 3.01, 20.0, 20.2, 0.0123, 0.954),
    )

    def test_handed_on_and_answered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "quantize", self.MADE)
        words = "--to int4 --out q --data a b --max-tokens 0 --encoding latin-1 --threads 1"
        result = ok("quantize", "m", *words.split())
        assert called.arguments == (Path("m"), Path("q"))
        assert called.options == {
            "to": "int4",
            "data": ["a", "b"],
            "max_tokens": 0,
            "encoding": "latin-1",
            "text_field": "text",
            "threads": 1,
        }
        assert result.stdout.splitlines() == [
            "q: 4.0 MiB of weights became 1.0 MiB (int4)",
            "on 1,200 tokens:",
            "                loss    perplexity",
            "original      3.0000        20.000",
            "int4          3.0100        20.200  (+1.00%)",
            "KL divergence 0.012 nats, same top token 95.4%",
        ]

    def test_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "quantize", self.MADE)
        facts = json.loads(ok("quantize", "m", "--out", "q", "--json").stdout)
        assert facts["comparison"]["perplexity"] == 20.2

    def test_for_real(self, story: Path, tmp_path: Path) -> None:
        out = str(tmp_path / "q")
        words = ("--out", out, "--data", str(story / "text.txt"), "--max-tokens", "40")
        result = ok("quantize", str(story / "run"), "--to", "int8", *words)
        assert "on 39 tokens" in result.stdout
        assert re.search(r"quantized +int8", ok("info", out).stdout)
        assert ok("generate", out, "the cat", "--max-new-tokens", "4", "--greedy").stdout.strip()
        again = CliRunner().invoke(app, ["quantize", str(story / "run"), *words])
        assert again.exit_code == 1
        assert "already exists" in again.stderr


class TestInfo:
    def test_for_people(self, story: Path) -> None:
        text = ok("info", str(story / "run")).stdout
        assert "parameters" in text
        assert "  n_embd" in text

    def test_neither_model_nor_run(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(app, ["info", str(tmp_path)])
        assert result.exit_code == 1
        assert "no model and no run" in result.stderr


class TestConvert:
    MADE = Conversion(
        folder=Path("out"),
        source_format="bin",
        format="safetensors",
        architecture="OpenAIGPTLMHeadModel",
        parameters=116_534_784,
        dtypes=["float32"],
        renamed={"h.0.ln_1.weight": "transformer.h.0.ln_1.weight"},
        dropped=["h.0.attn.bias", "h.1.attn.bias"],
        added=[],
        tokenizer=True,
    )

    def test_defaults_and_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "convert", self.MADE)
        result = ok("convert", "owner/name", "out")
        assert called.arguments == ("owner/name", Path("out"))
        assert called.options == {
            "to": "safetensors",
            "dtype": None,
            "config": None,
            "n_head": None,
            "max_shard_size": "5GB",
            "revision": None,
        }
        assert result.stdout.splitlines() == [
            "out: OpenAIGPTLMHeadModel, 116.5 M parameters, float32",
            "arrays from bin to safetensors: 1 renamed, "
            "2 dropped (h.0.attn.bias and 1 more), 0 added",
            "tokenizer: converted",
        ]

    def test_every_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "convert", self.MADE)
        words = "--to openai --dtype float32 --config c.json --n-head 4 --revision v1"
        ok("convert", "in", "out", *words.split(), "--max-shard-size", "9MB")
        assert called.options == {
            "to": "openai",
            "dtype": "float32",
            "config": Path("c.json"),
            "n_head": 4,
            "max_shard_size": "9MB",
            "revision": "v1",
        }

    def test_for_real(self, story: Path, tmp_path: Path) -> None:
        result = ok("convert", str(story / "run"), str(tmp_path / "out"), "--to", "openai")
        assert "arrays from safetensors to openai" in result.stdout
        assert (tmp_path / "out" / "params_9.npy").exists()
        back = ok("convert", str(tmp_path / "out"), str(tmp_path / "back"), "--dtype", "bfloat16")
        assert "bfloat16" in back.stdout
        prompt = ("the cat", "--max-new-tokens", "4", "--greedy")
        assert ok("generate", str(tmp_path / "back"), *prompt).stdout.strip()

    def test_help(self) -> None:
        text = ok("convert", "--help").stdout
        assert "Convert a checkpoint to a model folder or OpenAI's files." in text
        assert "a Hub id" in " ".join(text.split())

    def test_a_setting_that_cannot_be(self, story: Path, tmp_path: Path) -> None:
        words = ["convert", str(story / "run"), str(tmp_path / "out"), "--to", "onnx"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert "to is 'onnx'; allowed: safetensors, openai" in result.stderr


class TestDoctor:
    def test_missing_things_come_with_their_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checks = [Check("torch", "missing", "pip install 'ogpt[torch]'"), Check("numpy", "2.4")]
        record(monkeypatch, "doctor", checks)
        assert ok("doctor").stdout.splitlines() == [
            "torch  missing",
            "numpy  2.4",
            "",
            "to fix",
            "  torch  pip install 'ogpt[torch]'",
        ]

    def test_nothing_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "doctor", [Check("numpy", "2.4")])
        assert ok("doctor").stdout == "numpy  2.4\n"

    def test_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "doctor", [Check("numpy", "2.4")])
        facts = json.loads(ok("doctor", "--json").stdout)
        assert facts == {"numpy": {"name": "numpy", "value": "2.4", "fix": ""}}
