"""The commands that use a model: what they hand on, what they print where."""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from cli.stand_ins import ok, record
from ogpt.cli.main import app
from ogpt.converting import Conversion
from ogpt.diagnosing import Check


class Text(NamedTuple):
    text: str


class Statistics(NamedTuple):
    new_tokens: int = 1_500
    seconds_to_first_token: float = 0.25
    seconds: float = 1.25
    tokens_per_s: float = 1_200.0


class Written(list[Text]):
    statistics = Statistics()


DEFAULTS = {
    "ids": None,
    "max_new_tokens": 50,
    "min_new_tokens": 0,
    "do_sample": True,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "seed": 0,
    "num_return_sequences": 1,
    "stop": (),
    "decoder": "auto",
    "threads": 0,
}


class TestGenerate:
    def test_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "generate", Written([Text(" on the mat")]))
        ok("generate", "m", "the cat sat")
        assert called.arguments == (Path("m"), "the cat sat")
        called.options.pop("on_text")
        assert called.options == DEFAULTS

    def test_every_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "generate", Written([Text(" a"), Text("b"), Text("c")]))
        words = "--ids 1,2,3 --max-new-tokens 9 --min-new-tokens 2 --greedy --temperature 0.5"
        more = "--top-k 5 --top-p 0.9 --stop x --stop y --num-return-sequences 3 --seed 7"
        result = ok(
            "generate", "m", *words.split(), *more.split(), "--decoder=torch", "--threads=2"
        )
        assert called.arguments == (Path("m"), None)
        assert called.options == {
            "ids": [1, 2, 3],
            "max_new_tokens": 9,
            "min_new_tokens": 2,
            "do_sample": False,
            "temperature": 0.5,
            "top_k": 5,
            "top_p": 0.9,
            "seed": 7,
            "num_return_sequences": 3,
            "stop": ["x", "y"],
            "decoder": "torch",
            "threads": 2,
            "on_text": None,
        }
        assert result.stdout == "a\nb\nc\n"

    def test_streams_as_words_come(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []

        def generate(*arguments: Any, on_text: Any, **options: Any) -> Written:
            for text in (" on", " the", " mat"):
                on_text(0, text)
                seen.append(sys.stdout.buffer.getvalue().decode())  # type: ignore[attr-defined]  # the runner's
            return Written([Text(" on the mat")])

        record(monkeypatch, "generate")
        monkeypatch.setitem(vars(sys.modules["ogpt"]), "generate", generate)
        assert ok("generate", "m", "the cat sat").stdout == "on the mat\n"
        assert seen == ["on", "on the", "on the mat"]

    def test_stats_end_stderr(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "generate", Written([Text("a")]))
        line = ok("generate", "m", "x", "--stats").stderr.splitlines()[-1]
        assert line == "1500 new tokens in 1.250 s (the first after 0.250 s): 1200.0 tokens/s"

    def test_prompt_from_stdin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "generate", Written([Text("a")]))
        result = CliRunner().invoke(app, ["generate", "m", "-"], input="a\nprompt\n")
        assert result.exit_code == 0
        assert called.arguments[1] == "a\nprompt"

    def test_stdin_that_is_not_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "generate", Written([Text("a")]))
        result = CliRunner().invoke(app, ["generate", "m", "-"], input=b"ab\xff")
        assert result.exit_code == 1
        assert "error: standard input is not utf-8: byte 2 is 0xff" in result.stderr
        assert "iconv" in result.stderr

    @pytest.mark.parametrize("ids", ["1,,2", "a", "1.5", ""])
    def test_ids_that_are_no_numbers(self, ids: str) -> None:
        result = CliRunner().invoke(app, ["generate", "m", "--ids", ids])
        assert result.exit_code == 2
        assert f"--ids is {ids!r}; allowed: whole numbers" in result.stderr
        assert "hint: for example --ids 1,2,3" in result.stderr

    def test_for_real(self, story: Path) -> None:
        run = str(story / "run")
        first = ok("generate", run, "the cat", "--max-new-tokens", "8", "--seed", "3", "--stats")
        again = ok("generate", run, "the cat", "--max-new-tokens", "8", "--seed", "3")
        assert first.stdout == again.stdout
        assert first.stdout.strip()
        assert "tokens/s" in first.stderr.splitlines()[-1]

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["--temperature", "0", "x"], 2, "temperature is 0.0"),
            (["--top-p", "1.5", "x"], 2, "top_p is 1.5"),
            (["--decoder", "fast", "x"], 2, "decoder is 'fast'"),
            ([], 2, "neither prompt nor ids"),
            (["x", "--ids", "1"], 2, "prompt and ids"),
            (["--ids", "99999"], 1, "99999"),
        ],
    )
    def test_refusals(self, story: Path, words: list[str], code: int, message: str) -> None:
        result = CliRunner().invoke(app, ["generate", str(story / "run"), *words])
        assert result.exit_code == code
        assert message in result.stderr
        assert "\nhint: " in result.stderr
        assert result.stdout == ""

    def test_no_model(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(app, ["generate", str(tmp_path / "none"), "x"])
        assert result.exit_code == 1
        assert "none" in result.stderr

    def test_without_torch(self, story: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        result = CliRunner().invoke(app, ["generate", str(story / "run"), "the cat"])
        assert result.exit_code == 1
        assert "hint: pip install 'ogpt[torch]'" in result.stderr


class TestEvaluate:
    def test_handed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "evaluate", {"loss": 2.5})
        result = ok("evaluate", "m", "--data", "a", "b", "--stride", "8", "--encoding", "latin-1")
        assert called.arguments == (Path("m"), ["a", "b"])
        assert called.options == {
            "stride": 8,
            "encoding": "latin-1",
            "decoder": "auto",
            "threads": 0,
        }
        assert result.stdout == "loss  2.5\n"

    def test_for_real(self, story: Path) -> None:
        (story / "short.txt").write_text("The dog sat on the mat. The cat sat on the log.\n")
        result = ok("evaluate", str(story / "run"), "--data", str(story / "short.txt"), "--json")
        facts = json.loads(result.stdout)
        assert facts["loss"] > 0
        assert facts["perplexity"] > 1
        assert facts["bits_per_byte"] > 0


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
            "arrays of bin as safetensors: 1 renamed, "
            "2 dropped (h.0.attn.bias and 1 more), 0 added",
            "tokenizer: the source's",
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
        assert "arrays of safetensors as openai" in result.stdout
        assert (tmp_path / "out" / "params_9.npy").exists()
        back = ok("convert", str(tmp_path / "out"), str(tmp_path / "back"), "--dtype", "bfloat16")
        assert "bfloat16" in back.stdout
        prompt = ("the cat", "--max-new-tokens", "4", "--greedy")
        assert ok("generate", str(tmp_path / "back"), *prompt).stdout.strip()

    def test_help(self) -> None:
        text = ok("convert", "--help").stdout
        assert "Make a model folder, or OpenAI's files, of any checkpoint." in text
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
            "to mend",
            "  torch  pip install 'ogpt[torch]'",
        ]

    def test_nothing_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "doctor", [Check("numpy", "2.4")])
        assert ok("doctor").stdout == "numpy  2.4\n"

    def test_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "doctor", [Check("numpy", "2.4")])
        facts = json.loads(ok("doctor", "--json").stdout)
        assert facts == {"numpy": {"name": "numpy", "value": "2.4", "mend": ""}}
