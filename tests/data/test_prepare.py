"""Text becomes shards: what is written, how it is split, what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ogpt import notices
from ogpt.config.pretrain_settings import DataSettings
from ogpt.data.duplicates import hash_text
from ogpt.data.shards import Shards, TokenStream
from ogpt.errors import DamagedData, DataError, OutputExists, StrictNotice
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.workflows.prepare import prepare


def write_rows(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def decode(stream: TokenStream, tokenizer: OpenAIGPTTokenizerFast) -> list[str]:
    starts = [*stream.document_starts.tolist(), len(stream)]
    return [tokenizer.decode(stream[start:end].tolist()).strip() for start, end in pairwise(starts)]


TEXTS = [f"document number {number} says {number * number}" for number in range(60)]


def test_every_document_is_in_one_split(tmp_path: Path, characters: OpenAIGPTTokenizerFast) -> None:
    source = write_rows(tmp_path / "a.jsonl", TEXTS)
    shards = prepare([str(source)], characters, tmp_path / "out", shard_tokens=300)
    fraction = DataSettings().valid_fraction
    held_out = [text for text in TEXTS if hash_text(text.encode()).share < fraction]
    trained = [text for text in TEXTS if text not in held_out]
    assert decode(shards.train, characters) == trained
    assert decode(shards.valid, characters) == held_out
    assert shards.valid.n_documents == len(held_out) > 0
    assert shards.train.n_bytes == sum(len(text) for text in trained)
    assert len(shards.train.shards) > 3
    assert shards.vocab_size == len(characters)
    assert shards.fingerprint == characters.fingerprint
    copy = OpenAIGPTTokenizerFast.from_pretrained(shards.tokenizer)
    assert copy.fingerprint == characters.fingerprint
    shards.verify()


def test_the_manifest_tells_what_the_shards_were_made_from(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast
) -> None:
    source = write_rows(tmp_path / "a.jsonl", TEXTS + TEXTS[:2])
    out = tmp_path / "out"
    told: list[str] = []
    prepare(
        [str(source)],
        characters,
        out,
        shard_tokens=500,
        reporter=lambda _, **event: told.append(event.get("text", "")),
    )
    assert told[-3] == "2 of 62 documents were exact copies of others and are skipped"
    assert re.fullmatch(r"train: [\d,]+ tokens of \d+ documents", told[-2])
    assert re.fullmatch(r"valid: [\d,]+ tokens of \d+ documents", told[-1])
    manifest = json.loads((out / "manifest.json").read_text())
    content = source.read_bytes()
    expected = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert manifest["inputs"]["data"] == [{"name": "a.jsonl", **expected}]
    assert manifest["inputs"]["tokenizer"]["pre_tokenizer"] == "bert"
    assert manifest["documents_read"] == 62
    assert manifest["duplicates"] == 2
    assert manifest["dtype"] == "uint16"
    for split in manifest["splits"].values():
        for shard in split["shards"]:
            content = (out / shard["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == shard["sha256"]
            assert len(content) == 2 * shard["n_tokens"]
        assert split["n_tokens"] == sum(shard["n_tokens"] for shard in split["shards"])
    assert sorted(path.name for path in out.iterdir() if path.name.startswith(".")) == []


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    tokens = ["<unk>", "a", "a</w>", *(f"[{number}]" for number in range(1 << 16))]
    tokenizer = OpenAIGPTTokenizerFast(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[]
    )
    source = write_rows(tmp_path / "a.jsonl", ["a" * length for length in range(2, 9)])
    valid = write_rows(tmp_path / "b.jsonl", ["aa a"])
    shards = prepare([str(source)], tokenizer, tmp_path / "out", valid=[str(valid)])
    assert shards.train.dtype == np.dtype("<u4")
    assert set(shards.train[:].tolist()) == {1, 2}


def test_given_validation_text_keeps_its_copies(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast
) -> None:
    data = write_rows(tmp_path / "a.jsonl", ["one", "two", "three", "one"])
    valid = write_rows(tmp_path / "b.jsonl", ["two", "four"])
    shards = prepare(data, characters, tmp_path / "out", valid=valid)
    assert decode(shards.train, characters) == ["one", "three"]
    assert decode(shards.valid, characters) == ["two", "four"]


def test_a_single_document_is_cut(tmp_path: Path, characters: OpenAIGPTTokenizerFast) -> None:
    paragraphs = [f"paragraph {number} has some words." for number in range(200)]
    text = "\n\n".join(paragraphs)
    (tmp_path / "a.txt").write_text(text)
    with notices.collecting() as told:
        shards = prepare(str(tmp_path / "a.txt"), characters, tmp_path / "out")
    assert [notice.kind for notice in told] == ["few-documents"]
    assert told[0].fields == {"bytes": round(0.05 * len(text))}
    assert shards.train.n_bytes + shards.valid.n_bytes == len(text)
    assert 0.03 < shards.valid.n_bytes / len(text) <= 0.05
    [held_out] = decode(shards.valid, characters)
    assert held_out.startswith("paragraph 19")  # cut between paragraphs
    whole = characters.encode_batch_arrays([text])[0]
    assert np.array_equal(np.concatenate([shards.train[:], shards.valid[:]]), whole)


@pytest.mark.parametrize(
    ("fraction", "held_out"),
    [(0.001, ["eve"]), (0.5, ["dan", "all eve"])],  # the hash puts all on one side, or the other
)
def test_the_cut_counts_bytes_from_the_end(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast, fraction: float, held_out: list[str]
) -> None:
    texts = ["all bob", "all cy", "all dan", "all eve", "all bob"]
    assert len({hash_text(text.encode()).share < fraction for text in texts}) == 1
    source = write_rows(tmp_path / "a.jsonl", texts)
    settings = DataSettings(valid_fraction=fraction)
    with notices.collecting() as told:
        shards = prepare(source, characters, tmp_path / "out", settings=settings)
    assert len(told) == 1
    assert decode(shards.valid, characters) == held_out
    assert shards.train.n_bytes + shards.valid.n_bytes == 27


def test_strict_refuses_the_cut_before_work_begins(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast
) -> None:
    (tmp_path / "a.txt").write_text("some words. " * 20)
    with notices.listening(notices.refuse), pytest.raises(StrictNotice, match="too few documents"):
        prepare(str(tmp_path / "a.txt"), characters, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_little_text_leaves_no_folder(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast
) -> None:
    same = write_rows(tmp_path / "a.jsonl", ["one"])
    with pytest.raises(DataError, match="left to train on: 2 documents were read, 1 of") as caught:
        prepare(same, characters, tmp_path / "out", valid=write_rows(tmp_path / "b.jsonl", ["one"]))
    assert "--data" in caught.value.hint
    blank = write_rows(tmp_path / "c.jsonl", ["\u200b", "\ufeff"])
    with pytest.raises(DataError, match="left to validate on"):
        prepare(same, characters, tmp_path / "out", valid=blank)
    assert not (tmp_path / "out").exists()


def test_a_source_without_words_is_refused(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast
) -> None:
    (tmp_path / "a.txt").write_text(" \n\n ")
    with pytest.raises(DataError, match="0 documents were read"):
        prepare(str(tmp_path / "a.txt"), characters, tmp_path / "out")


def test_bad_input_late_in_the_text_leaves_no_folder(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast
) -> None:
    source = write_rows(tmp_path / "a.jsonl", TEXTS)
    source.write_text(source.read_text() + '{"text": "cut')
    with pytest.raises(DamagedData, match="line 61"):
        prepare(source, characters, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_finished_shards_are_used_as_they_are(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast
) -> None:
    source = write_rows(tmp_path / "a.jsonl", TEXTS)
    out = tmp_path / "out"
    prepare([source], characters, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    said: list[str] = []
    again = prepare(
        [source], characters, out, reporter=lambda _, **event: said.append(event["text"])
    )
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert again.train.n_documents > 0
    assert said == [f"{out} already holds the shards of this text"]


def test_other_inputs_do_not_overwrite(tmp_path: Path, characters: OpenAIGPTTokenizerFast) -> None:
    source = write_rows(tmp_path / "a.jsonl", TEXTS)
    out = tmp_path / "out"
    prepare([source], characters, out)
    source.write_text(source.read_text() + '{"text": "more"}\n')
    with pytest.raises(OutputExists, match="holds shards of other inputs: data differ") as caught:
        prepare([source], characters, out)
    assert "--out" in caught.value.hint
    Shards.open(out).verify()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_foreign_output_is_left_alone(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast, kind: str
) -> None:
    source = write_rows(tmp_path / "a.jsonl", TEXTS)
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
    foreign = out / "thesis.tex" if kind == "folder" else out
    foreign.write_text("mine")
    with pytest.raises(OutputExists, match=r"holds no shards|is a file") as caught:
        prepare([source], characters, out)
    assert "--out" in caught.value.hint
    assert foreign.read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path: Path, characters: OpenAIGPTTokenizerFast) -> None:
    (tmp_path / "out").mkdir()
    source = write_rows(tmp_path / "a.jsonl", TEXTS)
    assert len(prepare([source], characters, tmp_path / "out").train)


def test_the_tokenizer_may_be_a_folder(tmp_path: Path, characters: OpenAIGPTTokenizerFast) -> None:
    characters.save_pretrained(tmp_path / "tokenizer")
    source = write_rows(tmp_path / "a.jsonl", TEXTS)
    shards = prepare([source], tmp_path / "tokenizer", str(tmp_path / "out"))
    assert shards.fingerprint == characters.fingerprint


def test_progress_counts_the_bytes_of_the_sources(
    tmp_path: Path, characters: OpenAIGPTTokenizerFast
) -> None:
    sources = [write_rows(tmp_path / name, TEXTS[:30]) for name in ("a.jsonl", "b.jsonl")]
    events: list[dict[str, object]] = []
    prepare(sources, characters, tmp_path / "out", reporter=lambda _, **event: events.append(event))
    total = sum(source.stat().st_size for source in sources)
    assert events[-4] == {"task": "tokenizing", "done": total, "total": total, "unit": "bytes"}


BOOKS = Path(__file__).parents[2].parent / "shared" / "data" / "books" / "books_valid.jsonl.gz"


@pytest.mark.skipif(not BOOKS.exists(), reason="the books are not there")
def test_real_books(tmp_path: Path, characters: OpenAIGPTTokenizerFast) -> None:
    valid = write_rows(tmp_path / "a.jsonl", ["held out"])
    with notices.collecting() as told:
        shards = prepare(BOOKS, characters, tmp_path / "out", valid=valid)
    assert [notice.kind for notice in told] == ["text-unknown"]
    assert shards.train.n_documents == 5
    assert shards.train.n_bytes > 2_100_000
    first = characters.decode(shards.train[:2000].tolist())
    assert characters.unk_token_id not in shards.train[:200].tolist()
    assert len(first.split()) > 300
