"""A model with byte-level tokens, from pre-training to every reader of its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import ogpt
from ogpt.cli.main import app
from ogpt.data.windows import Windows
from ogpt.notices import collecting

TEXT = "def f(x):\n    return x + 12345  # Größe 你好 😀\n\n" * 150
SIZES = ("n_layer=1", "n_embd=16", "n_head=2", "n_positions=32")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "code.txt").write_text(TEXT, "utf-8", newline="\n")
    overrides = [f"model.{size}" for size in SIZES]
    overrides += ["training.max_steps=2", "training.warmup_steps=1", "training.batch_size=2"]
    overrides += ["training.micro_batch_size=2", "training.eval_windows=2"]
    overrides += ["tokenizer.vocab_size=280", "tokenizer.pre_tokenizer=bytes"]
    with collecting():
        ogpt.pretrain(
            preset="tiny", data=[str(folder / "code.txt")], out=folder / "run", overrides=overrides
        )
    return folder / "run"


def test_the_shards_hold_the_text_itself(run: Path) -> None:
    with collecting():
        shards = ogpt.prepare(
            [str(run.parent / "code.txt")], ogpt.load(run)[0], run.parent / "again"
        )
    tokenizer, _ = ogpt.load(run)
    assert tokenizer.pre_tokenizer == "bytes"
    held = tokenizer.decode(shards.train[:]) + tokenizer.decode(shards.valid[:])
    assert sorted(held) == sorted(TEXT)
    assert shards.train.n_bytes + shards.valid.n_bytes == len(TEXT.encode())


def test_documents_are_joined_end_to_end(run: Path, tmp_path: Path) -> None:
    """As they are, so that the tokens decode to the text; packed windows keep them apart."""
    rows = [f"row {number} ends." for number in range(40)]
    lines = [json.dumps({"text": row}) + "\n" for row in rows]
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    tokenizer, _ = ogpt.load(run)
    with collecting():
        shards = ogpt.prepare(tmp_path / "rows.jsonl", tokenizer, tmp_path / "shards")
    held = tokenizer.decode(shards.train[:])
    assert "ends.row" in held
    assert len(held) == shards.train.n_bytes
    longest = max(len(tokenizer.encode(row)) for row in rows)
    packed = Windows(shards.train, longest, packed=True)
    windows = [batch.ids[0].tolist() for batch in packed.sequential(1)]
    assert not any("ends.row" in tokenizer.decode(ids) for ids in windows)


def test_the_text_of_a_continuation_is_what_its_tokens_say(run: Path) -> None:
    tokenizer, _ = ogpt.load(run)
    for seed in range(5):
        (found,) = ogpt.generate(run, "def Größe", max_new_tokens=12, seed=seed)
        assert found.text == tokenizer.decode(found.ids)
    (found,) = ogpt.generate(run, "x", max_new_tokens=20, seed=1, stop=["\n"])
    assert "\n" not in found.text


def test_scores_are_of_the_exact_text(run: Path) -> None:
    (lower,) = ogpt.score(run, "def f(x):\n    return")
    (upper,) = ogpt.score(run, "def F(x):\n    return")
    assert lower.tokens != upper.tokens
    result = ogpt.evaluate(run, text=TEXT)
    assert (result.bytes, result.unknown_tokens) == (len(TEXT.encode()), 0)


def test_commands_take_it(run: Path, tmp_path: Path) -> None:
    def call(*words: str) -> str:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "bytes" in call("info", str(run))
    model = next((run / "checkpoints").glob("step-*"))
    assert "keeps case and white space" in (model / "README.md").read_text("utf-8")
    call("convert", str(model), str(tmp_path / "openai"), "--to", "openai")
    call("convert", str(tmp_path / "openai"), str(tmp_path / "back"))
    call("quantize", str(model), "--to", "int8", "--out", str(tmp_path / "int8"))
    wanted = ogpt.load(model)[0].fingerprint
    for name in ("openai", "back", "int8"):
        assert ogpt.ModelFolder.open(tmp_path / name).tokenizer.fingerprint == wanted
    tokenizer = tmp_path / "tokenizer"
    data = ("--data", str(run.parent / "code.txt"), "--vocab-size", "280")
    call("train-tokenizer", *data, "--pre-tokenizer", "bytes", "--out", str(tokenizer))
    settings = json.loads((tokenizer / "tokenizer_config.json").read_text("utf-8"))
    assert settings["pre_tokenizer"] == "bytes"


def test_transformers_opens_the_checkpoint_and_gives_the_same_logits(run: Path) -> None:
    model_folder = next((run / "checkpoints").glob("step-*"))
    ours_tokenizer, ours = ogpt.load(model_folder)
    theirs_tokenizer = AutoTokenizer.from_pretrained(model_folder)
    theirs = AutoModelForCausalLM.from_pretrained(model_folder).eval()
    text = "  Größe\n\n\t你好 😀"
    ids = ours_tokenizer.encode(text)
    assert theirs_tokenizer(text)["input_ids"] == ids
    with torch.no_grad():
        rows = torch.tensor([ids[:30]])
        torch.testing.assert_close(ours(rows).logits, theirs(rows).logits)
    # a tokenizer of transformers finds stop strings too
    written = ours.generate(rows[:, :5], max_new_tokens=9, do_sample=False)[0, 5:].tolist()
    stop = ours_tokenizer.decode(written[:1])
    ended = ours.generate(
        rows[:, :5],
        max_new_tokens=9,
        do_sample=False,
        stop_strings=[stop],
        tokenizer=theirs_tokenizer,
    )
    assert ended.shape[1] == 6 or "\ufffd" in stop


def test_a_pipeline_joins_prompt_and_text_without_a_space(run: Path) -> None:
    generate = ogpt.pipeline("text-generation", str(run))
    ((found,),) = [generate("def f", max_new_tokens=3, do_sample=False)]
    (wanted,) = ogpt.generate(run, "def f", max_new_tokens=3, do_sample=False)
    assert found["generated_text"] == "def f" + wanted.text
