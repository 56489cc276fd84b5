"""`ogpt generate`: what it hands on, what it prints where."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ogpt.cli.main import app
from ogpt.generation.texts.statistics import Statistics
from ogpt.notices import KINDS
from ogpt.workflows.generate import FileResult
from tests.cli.stand_ins import ok, record


@dataclass
class Text:
    text: str


class Written(list[Text]):
    statistics = Statistics(1_500, 0.25, 1.25, texts=2, weight_bytes=1_000)


DEFAULTS = {
    "ids": None,
    "max_new_tokens": 50,
    "min_new_tokens": 0,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "no_repeat_ngram_size": 0,
    "seed": 0,
    "num_return_sequences": 1,
    "num_beams": 1,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "length_penalty": 1.0,
    "penalty_alpha": 0.0,
    "max_time": None,
    "prompt_lookup_num_tokens": None,
    "stop": (),
    "ban": (),
    "bias": {},
    "top_logprobs": 0,
    "surface": "raw",
    "keep_lower": False,
    "decoder": "auto",
    "dtype": "auto",
    "threads": 0,
    "cache_dtype": "float32",
    "deterministic": False,
    "batch_size": 16,
    "assistant_model": None,
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
        rest = "--decoder=torch --dtype=bfloat16 --threads=2 --beams=4 --beam-groups=2 --min-p=0.1"
        words += " --typical-p 0.8 --repetition-penalty 1.2 --frequency-penalty 0.3"
        words += " --presence-penalty 0.4 --no-repeat-ngram-size 3 --diversity-penalty 0.5"
        more += " --length-penalty 0.7 --penalty-alpha 0.6 --prompt-lookup 7 --ban x --ban y"
        rest += (
            " --cache-dtype bfloat16 --deterministic --batch-size 4 --surface readable --keep-lower"
        )
        rest += " --epsilon-cutoff 0.001 --eta-cutoff 0.002 --encoder-repetition-penalty 1.1"
        rest += " --max-time 2.5 --assistant small"
        texts = ["--bias", "the cat=2.5", "--bias", "a=b=-1"]
        result = ok("generate", "m", *words.split(), *more.split(), *rest.split(), *texts)
        assert called.arguments == (Path("m"), None)
        assert called.options == {
            "ids": [1, 2, 3],
            "max_new_tokens": 9,
            "min_new_tokens": 2,
            "do_sample": False,
            "temperature": 0.5,
            "top_k": 5,
            "top_p": 0.9,
            "min_p": 0.1,
            "typical_p": 0.8,
            "epsilon_cutoff": 0.001,
            "eta_cutoff": 0.002,
            "encoder_repetition_penalty": 1.1,
            "max_time": 2.5,
            "repetition_penalty": 1.2,
            "frequency_penalty": 0.3,
            "presence_penalty": 0.4,
            "no_repeat_ngram_size": 3,
            "seed": 7,
            "num_return_sequences": 3,
            "num_beams": 4,
            "num_beam_groups": 2,
            "diversity_penalty": 0.5,
            "length_penalty": 0.7,
            "penalty_alpha": 0.6,
            "prompt_lookup_num_tokens": 7,
            "stop": ["x", "y"],
            "ban": ["x", "y"],
            "bias": {"the cat": 2.5, "a=b": -1.0},
            "top_logprobs": 0,
            "surface": "readable",
            "keep_lower": True,
            "decoder": "torch",
            "dtype": "bfloat16",
            "threads": 2,
            "cache_dtype": "bfloat16",
            "deterministic": True,
            "batch_size": 4,
            "assistant_model": Path("small"),
            "on_text": None,
        }
        assert result.stdout == "a\nb\nc\n"

    @pytest.mark.parametrize(
        ("options", "surface"),
        [([], "readable"), (["--surface", "raw"], "raw"), (["--json"], "raw")],
    )
    def test_a_terminal_shows_readable_text(
        self, monkeypatch: pytest.MonkeyPatch, options: list[str], surface: str
    ) -> None:
        called = record(monkeypatch, "generate", Written([]))
        monkeypatch.setattr("ogpt.cli.generate.on_terminal", lambda: True)
        ok("generate", "m", "the cat", *options)
        assert called.options["surface"] == surface

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
            "several texts share each pass over the weights): 1200.0 tokens/s"
        )

    def test_beams_are_not_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "generate", Written([Text("a")]))
        ok("generate", "m", "x", "--beams", "3")
        assert "do_sample" not in called.options  # ogpt.generate decides
        assert called.options["num_beams"] == 3

    def test_contrastive_search_is_not_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "generate", Written([Text("a")]))
        ok("generate", "m", "x", "--penalty-alpha", "0.6", "--top-k", "4")
        assert "do_sample" not in called.options  # ogpt.generate decides
        assert (called.options["penalty_alpha"], called.options["top_k"]) == (0.6, 4)

    def test_json_holds_everything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called = record(monkeypatch, "generate", Written([Text(" a"), Text("b")]))
        result = ok("generate", "m", "x", "--json", "--top-logprobs", "3")
        assert called.options["on_text"] is None
        assert called.options["top_logprobs"] == 3
        assert json.loads(result.stdout) == {"continuations": [{"text": " a"}, {"text": "b"}]}
        assert result.stderr == ""

    def test_log_probabilities_that_are_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record(monkeypatch, "generate", Written([Text("a")]))
        told = KINDS["setting-without-effect"].format(
            setting="--top-logprobs", reason="only --json and --out report log-probabilities"
        )
        assert told in ok("generate", "m", "x", "--top-logprobs", "3").stderr.replace("\n", " ")

    def test_json_for_real(self, story: Path) -> None:
        words = ["the cat", "--json", "--top-logprobs", "2", "--max-new-tokens", "3"]
        [one] = json.loads(ok("generate", str(story / "run"), *words).stdout)["continuations"]
        assert one["prompt"] == "the cat"
        assert len(one["ids"]) == len(one["log_probs"]) == 3
        for token_id, log_prob, top in zip(
            one["ids"], one["log_probs"], one["top_log_probs"], strict=True
        ):
            assert top[0][1] >= top[1][1]
            assert dict(top).get(token_id, log_prob) == log_prob

    @pytest.mark.parametrize(
        "words",
        [
            "--penalty-alpha 0.6 --top-k 3",
            "--beams 4 --beam-groups 2 --diversity-penalty 1",
            "--repetition-penalty 1.2 --min-p 0.05 --ban the --bias cat=2",
        ],
    )
    def test_every_search_for_real(self, story: Path, words: str) -> None:
        run = ("generate", str(story / "run"), "the cat", "--max-new-tokens", "4")
        assert ok(*run, *words.split()).stdout.strip()

    @pytest.mark.parametrize("bias", ["cat", "cat=", "=2", "cat=much"])
    def test_biases_that_cannot_be(self, bias: str) -> None:
        result = CliRunner().invoke(app, ["generate", "m", "x", "--bias", bias])
        assert result.exit_code == 2
        assert f"--bias is {bias!r}; allowed: a text, = and a number" in result.stderr
        assert "hint: pass for example --bias" in result.stderr

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
        assert "hint: pass for example --ids 1,2,3" in result.stderr

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
        assert called.arguments == (Path("m"), Path("i"), Path("o"))
        changed = {"max_new_tokens": 9, "do_sample": False, "stop": ["x"], "dtype": "int8"}
        expected = {**DEFAULTS, **changed}
        del expected["ids"]
        assert called.options == expected
        assert result.stdout == "o: 1,200 rows, 5 of them from an earlier run\n"
        assert result.stderr.splitlines()[-1].endswith(": 5.0 tokens/s")
        facts = json.loads(ok("generate", "m", "--json", *words.split()).stdout)
        assert facts == {"file": "o", "rows": 1200, "kept": 5}

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
