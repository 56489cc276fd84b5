"""What --data names: built-in text, files, folders and globs; and what it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ogpt import notices
from ogpt.data.builtin import NAMES
from ogpt.data.sources import open_sources
from ogpt.errors import DataError, SourceNotFound


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    for name in (
        "b.txt",
        "a.md",
        "deep/er/c.jsonl.gz",
        "deep/d.TXT.ZST",
        "e.parquet",
        ".git/x.txt",
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("text")
    (folder / ".hidden.txt").write_text("text")
    return folder


def test_a_folder_is_read_with_its_folders_in_order(corpus: Path) -> None:
    sources = open_sources([str(corpus)])
    assert [source.name for source in sources] == [
        "a.md",
        "b.txt",
        "deep/d.TXT.ZST",
        "deep/er/c.jsonl.gz",
        "e.parquet",
    ]
    assert [source.form for source in sources] == ["text", "text", "text", "jsonl", "parquet"]
    assert [source.compression for source in sources] == ["", "", ".zst", ".gz", ""]


def test_globs_match_files_and_folders(corpus: Path) -> None:
    assert [source.name for source in open_sources(str(corpus / "*.txt"))] == ["b.txt"]
    assert [source.name for source in open_sources(corpus / "**" / "*.jsonl*")] == ["c.jsonl.gz"]
    assert [source.name for source in open_sources(corpus / "d*")] == ["d.TXT.ZST", "er/c.jsonl.gz"]


def test_a_file_named_twice_counts_once(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus)
    specs = ["b.txt", "builtin:python-docs", str(corpus), "builtin:python-docs"]
    names = [source.name for source in open_sources(specs)]
    assert names[:3] == ["b.txt", "builtin:python-docs", "a.md"]
    assert len(names) == 6


def test_a_file_may_have_a_name_like_a_glob(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("text")
    assert len(open_sources([tmp_path / "a[1].txt"])) == 1


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("text")
    assert open_sources("~/*.txt")[0].path == tmp_path / "a.txt"


def test_a_source_describes_its_content(corpus: Path) -> None:
    assert open_sources(corpus / "b.txt")[0].description == {
        "name": "b.txt",
        "size": 4,
        "sha256": hashlib.sha256(b"text").hexdigest(),
    }


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("nowhere.txt", "there is no file or folder nowhere.txt", "builtin:python-docs"),
        ("no/*.txt", r"nothing matches no/\*\.txt", "pattern"),
        ("builtin:python-doc", "no built-in source 'builtin:python-doc'", "builtin:python-docs"),
        ("", "is ''; allowed: builtin:NAME, a path or a glob", "current folder"),
        ("  ", "is '  '", "empty shell variable"),
        ("builtin:wikipedia", "allowed: builtin:python-docs, builtin:python-code", "choose one"),
    ],
)
def test_what_is_not_there(spec: str, message: str, hint: str) -> None:
    with pytest.raises(SourceNotFound, match=message) as caught:
        open_sources([spec])
    assert hint in caught.value.hint


def test_nothing_named() -> None:
    with pytest.raises(SourceNotFound, match="no source of text was passed") as caught:
        open_sources([])
    assert "--data" in caught.value.hint


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"a\.txt is empty \(0 bytes\)") as caught:
        open_sources([tmp_path / "a.txt"])
    assert "omit it" in caught.value.hint


@pytest.mark.parametrize("names", [(), ("a.txt",), ("a.pdf", "b.parquet.gz")])
def test_a_folder_without_text(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).touch()
    known = sum(name.endswith(".txt") for name in names)
    message = f"holds no text: of its {len(names)} files, {known} have a known extension"
    for spec in (tmp_path, tmp_path.parent / f"{tmp_path.name}*"):
        with pytest.raises(DataError, match=message) as caught:
            open_sources([spec])
        assert "convert" in caught.value.hint


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.parquet.zst", "a.gz"])
def test_an_unknown_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text")
    with pytest.raises(
        DataError, match=r"unknown extension; allowed: \.txt \.md \.jsonl"
    ) as caught:
        open_sources([tmp_path / name])
    assert "the extension of its format" in caught.value.hint


def test_skipped_files_give_a_notice(corpus: Path) -> None:
    (corpus / "paper.pdf").write_text("text")
    (corpus / "empty.txt").touch()
    with notices.collecting() as told:
        assert len(open_sources([corpus])) == 5
    assert [notice.fields["count"] for notice in told] == [1, 1]
    assert "extension is none of .txt" in told[0].message
    assert "are empty" in told[1].message


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "undefined"])
def test_an_unknown_encoding(corpus: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=f"'{encoding}' is no text encoding") as caught:
        open_sources([corpus], encoding)
    assert "cp1252" in caught.value.hint


def test_a_file_that_cannot_be_read(corpus: Path) -> None:
    [source] = open_sources([corpus / "b.txt"])
    source.path.unlink()
    with pytest.raises(DataError, match=r"b\.txt cannot be read: No such file") as caught:
        _ = source.description
    assert "permissions" in caught.value.hint


def test_builtin_sources_describe_themselves() -> None:
    sources = open_sources([f"builtin:{name}" for name in NAMES])
    described = [source.description for source in sources]
    assert described[0]["sha256"] == described[1]["sha256"]
    assert [source.size for source in sources] == [entry["size"] for entry in described]
