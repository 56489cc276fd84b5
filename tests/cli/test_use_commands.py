"""The commands that use a model: what they hand on, what they print where."""

import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from cli.stand_ins import ok, record
from ogpt.cli.main import app
from ogpt.converting import Conversion
from ogpt.diagnosing import Check
from ogpt.generating import FileResult, Statistics
from ogpt.generation.settings import GenerationSettings
from ogpt.quantising import Comparison, Quantisation
from ogpt.scoring import Score


class Text(NamedTuple):
    text: str


class Written(list[Text]):
    statistics = Statistics(1_500, 0.25, 1.25, texts=2, weight_bytes=1_000)


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
    "num_beams": 1,
    "stop": (),
    "decoder": "auto",
    "dtype": "auto",
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
        rest = "--decoder=torch --dtype=bfloat16 --threads=2 --beams=4"
        result = ok("generate", "m", *words.split(), *more.split(), *rest.split())
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
            "num_beams": 4,
            "stop": ["x", "y"],
            "decoder": "torch",
            "dtype": "bfloat16",
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
        assert line == (
            "1500 new tokens in 1.250 s (the first after 0.250 s; no share of the bandwidth floor: "
            "several texts share each reading of the weights): 1200.0 tokens/s"
        )

    def test_beams_are_not_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "generate", Written([Text("a")]))
        ok("generate", "m", "x", "--beams", "3")
        assert called.options["do_sample"] is False
        assert called.options["num_beams"] == 3

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
        last = first.stderr.splitlines()[-1]
        assert re.search(r"s; \d+% of the bandwidth floor: .* GB/s\): \d+\.\d tokens/s$", last)

    def test_files_are_handed_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = FileResult(Path("o"), 1_200, 5, Statistics(10, 0.5, 2.0, texts=3))
        called = record(monkeypatch, "generate_file", made)
        words = "--data i --out o --greedy --max-new-tokens 9 --stop x --stats --dtype int8"
        result = ok("generate", "m", *words.split())
        asked = GenerationSettings(max_new_tokens=9, do_sample=False)
        assert called.arguments == (Path("m"), Path("i"), Path("o"), asked)
        assert called.options == {"stop": ["x"], "decoder": "auto", "dtype": "int8", "threads": 0}
        assert result.stdout == "o: 1,200 rows, 5 of them were there already\n"
        assert result.stderr.splitlines()[-1].endswith(": 5.0 tokens/s")

    def test_files_that_hold_all_have_no_speed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "generate_file", FileResult(Path("o"), 2, 0, None))
        result = ok("generate", "m", "--data", "i", "--out", "o", "--stats")
        assert result.stdout == "o: 2 rows\n"
        assert "tokens/s" not in result.stderr

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--data", "i"], "--data was given alone; allowed: both or neither"),
            (["--out", "o"], "--out was given alone; allowed: both or neither"),
            (["x", "--data", "i", "--out", "o"], "a prompt and --data were given; allowed: one"),
            (["--ids", "1", "--data", "i", "--out", "o"], "a prompt and --data were given"),
        ],
    )
    def test_files_that_cannot_be(self, words: list[str], message: str) -> None:
        result = CliRunner().invoke(app, ["generate", "m", *words])
        assert result.exit_code == 2
        assert message in result.stderr
        assert "\nhint: " in result.stderr

    def test_files_for_real(self, story: Path, tmp_path: Path) -> None:
        (tmp_path / "in.jsonl").write_text('{"prompt": "the cat"}\n{"text": "the dog", "id": 7}\n')
        files = ("--data", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl"))
        ok("generate", str(story / "run"), *files, "--max-new-tokens", "4", "--beams", "2")
        lines = (tmp_path / "out.jsonl").read_text().splitlines()
        assert [json.loads(line).get("id") for line in lines] == [None, 7]

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
        words = ["generate", str(story / "run"), "the cat", "--decoder", "torch"]
        result = CliRunner().invoke(app, words)
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
            "dtype": "auto",
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
            "for each token   -1.5",
            "for each byte    -1",
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
    MADE = Quantisation(
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
            "threads": 1,
        }
        assert result.stdout.splitlines() == [
            "q: 4.0 MiB of weights became 1.0 MiB (int4)",
            "on 1,200 tokens:",
            "                loss    perplexity",
            "original      3.0000        20.000",
            "int4          3.0100        20.200  (+1.00%)",
            "KL divergence 0.012 nats, same most likely token 95.4%",
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
        assert re.search(r"quantised +int8", ok("info", out).stdout)
        assert ok("generate", out, "the cat", "--max-new-tokens", "4", "--greedy").stdout.strip()
        again = CliRunner().invoke(app, ["quantize", str(story / "run"), *words])
        assert again.exit_code == 1
        assert "exists already" in again.stderr


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
