"""Text that the vocabulary does not have is reported with its share, before the work."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ogpt import notices
from ogpt.data import split_reader
from ogpt.data.documents import Document
from ogpt.data.manifest import NAME
from ogpt.data.sources import open_sources
from ogpt.data.unknown import notice_unknown, notice_unknown_in, notice_unknown_of
from ogpt.errors import StrictNotice
from ogpt.evaluation.tokenized_text import open_text
from ogpt.reporting import silent
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.workflows.prepare import prepare
from ogpt.workflows.pretrain_setup import PretrainRequest, resolve_settings, set_up
from ogpt.workflows.train_tokenizer import train_tokenizer

TEXT = "the cat sat on the mat and the rat sat on the hat.\n\n" * 200
FOREIGN = "".join(chr(0x4E00 + i * 7 % 300) for i in range(4_000))
HINDI = "नमस्ते दुनिया में सभी को हिंदी में लिखा हुआ पाठ " * 200


@pytest.fixture
def tokenizer(tmp_path: Path) -> BPETokenizer:
    (tmp_path / "a.txt").write_text(TEXT)
    with notices.collecting():
        return train_tokenizer(tmp_path / "a.txt", 34, tmp_path / "tok")


def kinds(told: list[notices.Notice]) -> list[str]:
    return [notice.kind for notice in told if notice.kind != "few-documents"]


@pytest.mark.parametrize("splits", ["train", "valid", "both"])
def test_prepare(tmp_path: Path, tokenizer: BPETokenizer, splits: str) -> None:
    (tmp_path / "b.txt").write_text(FOREIGN)
    (tmp_path / "c.txt").write_text(FOREIGN[::-1])
    data = tmp_path / ("a.txt" if splits == "valid" else "b.txt")
    valid = tmp_path / ("a.txt" if splits == "train" else "c.txt")
    with notices.collecting() as told:
        shards = prepare(data, tokenizer, tmp_path / "s", valid=valid)
    expected = ["text-unknown"] * (2 if splits == "both" else 1)
    assert kinds(told) == expected
    assert "100.0% of the tokens" in told[0].message
    counts = (shards.train.n_unknown, shards.valid.n_unknown)
    assert counts == (4_000 * (splits != "valid"), 4_000 * (splits != "train"))
    totals = json.loads((tmp_path / "s" / NAME).read_text())["splits"]
    assert tuple(totals[split]["n_unknown"] for split in ("train", "valid")) == counts
    with notices.collecting() as again:
        prepare(data, tokenizer, tmp_path / "s", valid=valid)
        notice_unknown_of(shards)
    assert kinds(again) == expected * 2


def test_strict_refuses_before_the_work(tmp_path: Path, tokenizer: BPETokenizer) -> None:
    (tmp_path / "b.txt").write_text(FOREIGN)
    with notices.listening(notices.refuse), pytest.raises(StrictNotice, match=r"100\.0%"):
        prepare(tmp_path / "b.txt", tokenizer, tmp_path / "s", valid=tmp_path / "a.txt")
    assert not (tmp_path / "s").exists()


def test_what_the_sample_missed_is_reported(tmp_path: Path, tokenizer: BPETokenizer) -> None:
    (tmp_path / "b.txt").write_text("the cat sat\n\n" * 40_000 + FOREIGN * 5)
    with notices.collecting() as told:
        prepare(tmp_path / "b.txt", tokenizer, tmp_path / "s", valid=tmp_path / "a.txt")
    assert kinds(told) == ["text-unknown"]
    assert "of the training text" in told[0].message


def write_rows(folder: Path, foreign_in: range, foreign: int) -> Path:
    """20 files of 60 rows, some rows with foreign characters at the end, where no sample reads."""
    words = random.Random(0)
    folder.mkdir()
    for number in range(20):
        rows = []
        for _ in range(60):
            text = " ".join(words.choices(["the", "cat", "sat", "on", "mat", "rat"], k=400))
            rows.append(text + FOREIGN[:foreign] * (number in foreign_in))
        lines = [json.dumps({"text": row}) + "\n" for row in rows]
        (folder / f"{number:02}.jsonl").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("apart", [False, True])
def test_strict_stops_as_soon_as_unknown_text_is_certain(
    tmp_path: Path, tokenizer: BPETokenizer, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    monkeypatch.setattr(split_reader, "GROUP_CHARACTERS", 1 << 16)
    monkeypatch.setattr("ogpt.data.unknown.SAMPLE", 1 << 12)
    data = write_rows(tmp_path / "data", range(20), 300)
    valid = tmp_path / "a.txt" if apart else ()
    done: list[float] = []

    def reporter(kind: str, **fields: object) -> None:
        if kind == "progress":
            done.append(float(str(fields["done"])) / float(str(fields["total"])))

    with (
        notices.listening(notices.refuse),
        pytest.raises(StrictNotice, match=r"of the first \d+% of the training text"),
    ):
        prepare(data, tokenizer, tmp_path / "s", valid=valid, shard_tokens=1, reporter=reporter)
    assert not done or max(done) < 0.3
    with notices.collecting() as told:  # the same call without --strict resumes
        shards = prepare(data, tokenizer, tmp_path / "s", valid=valid, shard_tokens=1)
    assert kinds(told) == ["text-unknown"]
    assert shards.train.n_unknown > 0.1 * len(shards.train)


def test_a_foreign_passage_counts_for_its_share_of_the_text(
    tmp_path: Path, tokenizer: BPETokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """6 % of the tokens of the first two files are unknown, and 0.6 % of all."""
    monkeypatch.setattr(split_reader, "GROUP_CHARACTERS", 1 << 16)
    data = write_rows(tmp_path / "data", range(2), 30)
    with notices.listening(notices.refuse):
        shards = prepare(data, tokenizer, tmp_path / "s", valid=tmp_path / "a.txt")
    assert 0.005 < shards.train.n_unknown / len(shards.train) < 0.01


def test_evaluation(tmp_path: Path, tokenizer: BPETokenizer) -> None:
    (tmp_path / "b.txt").write_text(FOREIGN)
    with notices.collecting() as told:
        open_text(tokenizer, tmp_path / "b.txt", None)
        open_text(tokenizer, (), FOREIGN)
        open_text(tokenizer, tmp_path / "a.txt", None)
    assert kinds(told) == ["text-unknown", "text-unknown"]


def test_the_sample_is_spread_over_the_sources(tmp_path: Path, tokenizer: BPETokenizer) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}.txt").write_text(TEXT if number < 100 else FOREIGN)
    (tmp_path / "d").mkdir()
    with notices.collecting() as told:
        notice_unknown(tokenizer, open_sources(tmp_path / "*.txt"), "the text")
    share = told[0].fields["share"]
    assert 0.2 < share < 0.8


@pytest.mark.parametrize(("foreign", "told"), [(5, []), (20, ["text-unknown"])])
def test_a_few_unknown_tokens_are_usual(
    tokenizer: BPETokenizer, foreign: int, told: list[str]
) -> None:
    """One token of a hundred: rare characters occur in every text."""
    text = "the " * (1_000 - foreign) + FOREIGN[:foreign]
    with notices.collecting() as seen:
        notice_unknown_in(tokenizer, [Document(text, "text")], "the text")
    assert kinds(seen) == told


@pytest.mark.parametrize("text", [HINDI, "ภาษาไทยไม่มีช่องว่างระหว่างคำ " * 200])
def test_vowel_signs_that_the_default_rules_drop(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with notices.collecting() as told:
        tokenizer = train_tokenizer(tmp_path / "a.txt", 100, tmp_path / "tok")
        open_text(tokenizer, tmp_path / "a.txt", None)
    assert kinds(told).count("vowel-signs-dropped") == 2
    assert "--pre-tokenizer bytes" in told[0].message
    with notices.collecting() as told:
        train_tokenizer(tmp_path / "a.txt", 300, tmp_path / "b", pre_tokenizer="bytes")
    assert "vowel-signs-dropped" not in kinds(told)


def test_a_run_that_trains_its_tokenizer_tells_of_vowel_signs_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(HINDI)
    request = PretrainRequest(
        data=(str(tmp_path / "a.txt"),),
        out=tmp_path / "run",
        overrides=("tokenizer.vocab_size=60", "model.n_positions=16"),
    )
    with notices.collecting() as told:
        set_up(request, resolve_settings(request), request.out, silent)
    assert kinds(told).count("vowel-signs-dropped") == 1


def test_accents_are_no_vowel_signs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("déjà vu à l'été, e\u0301te\u0301 " * 200)
    with notices.collecting() as told:
        train_tokenizer(tmp_path / "a.txt", 100, tmp_path / "tok")
    assert "vowel-signs-dropped" not in kinds(told)
