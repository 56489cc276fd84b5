"""Folders and globs list the same files: links are followed, work of ogpt is no text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ogpt import notices
from ogpt.data.sources import open_sources
from ogpt.errors import DataError, SourceNotFound, StrictNotice


def write(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("text")


def names(spec: object, out: Path | None = None) -> list[str]:
    with notices.collecting():
        return [source.path.name for source in open_sources(str(spec), out=out)]


def skipped(spec: Path) -> dict[str, int]:
    with notices.collecting() as told:
        open_sources(spec)
    return {notice.fields["reason"]: notice.fields["count"] for notice in told}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    write(folder / "book.txt")
    return folder


OWN_FOLDERS = {
    "run": ("run.json", "config.toml", "metrics.jsonl", "checkpoints/step-00000001/README.md"),
    "run without its facts": ("config.toml", "metrics.jsonl", "shards/manifest.json"),
    "shards": ("manifest.json", "train-00000.bin", "train-00000.documents", "notes.md"),
    "shards without a manifest": ("valid-00000.documents", "tokenizer/merges.txt"),
    "tokenizer": ("vocab.json", "merges.txt", "tokenizer_config.json", "learned_from.json"),
    "OpenAI's tokenizer": ("encoder_bpe_40000.json", "vocab_40000.bpe", "merges.txt"),
    "model": ("config.json", "model.safetensors", "README.md"),
}


@pytest.mark.parametrize("kind", OWN_FOLDERS)
@pytest.mark.parametrize("pattern", ["", "**", "**/*", "*", "[bw]*"])
def test_what_ogpt_wrote_is_no_text(kind: str, pattern: str, texts: Path) -> None:
    write(*(texts / "work" / name for name in OWN_FOLDERS[kind]))
    told = skipped(texts / pattern)
    assert names(texts / pattern) == ["book.txt"]
    assert any("ogpt wrote them" in reason for reason in told)


@pytest.mark.parametrize("kind", OWN_FOLDERS)
def test_what_ogpt_wrote_is_refused_alone(kind: str, tmp_path: Path) -> None:
    write(*(tmp_path / "work" / name for name in OWN_FOLDERS[kind]))
    for pattern in ("", "*", "**"):
        with pytest.raises(DataError, match=r"not text|ogpt wrote them|holds no text"):
            open_sources(tmp_path / "work" / pattern)


@pytest.mark.parametrize(("kind", "what"), [("run", "the folder of a run"), ("shards", "shards")])
def test_runs_and_shards_are_no_text(kind: str, what: str, tmp_path: Path) -> None:
    write(*(tmp_path / name for name in OWN_FOLDERS[kind]))
    with pytest.raises(DataError, match=f"{what}, not text") as caught:
        open_sources(tmp_path)
    assert "manifest.json" in caught.value.hint


def test_text_beside_a_saved_tokenizer_or_model_is_read(texts: Path) -> None:
    write(*(texts / name for name in (*OWN_FOLDERS["tokenizer"], *OWN_FOLDERS["model"])))
    assert names(texts) == names(texts / "*.*") == ["book.txt"]
    assert names(texts / "merges.txt") == ["merges.txt"], "a file that was named is read"


def test_files_of_these_names_alone_are_text(texts: Path) -> None:
    write(texts / "README.md", texts / "merges.txt", texts / "config.json", texts / "manifest.json")
    assert names(texts) == ["README.md", "book.txt", "merges.txt"]


def test_the_output_is_not_read(texts: Path) -> None:
    write(texts / "runs" / "mine" / "notes.txt")
    out = texts / "runs" / "mine"

    def read(spec: Path) -> tuple[list[str], list[str]]:
        with notices.collecting() as told:
            sources = open_sources(spec, out=out)
        return [source.name for source in sources], [notice.kind for notice in told]

    for spec in (texts, texts / "**", texts / "*", texts / "runs" / ".."):
        assert read(spec) == (["book.txt"], ["output-inside-data"])
    for spec in (texts / "*.txt", texts / "book.txt"):
        assert read(spec) == (["book.txt"], [])
    with notices.listening(notices.refuse), pytest.raises(StrictNotice, match="lies inside"):
        open_sources(texts, out=texts / "new")


def test_links_are_followed_in_folders_and_globs(texts: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "deep" / "linked.txt")
    (texts / "A").symlink_to(tmp_path / "elsewhere")
    (texts / "B").symlink_to(texts)  # a circle
    (texts / "C.txt").symlink_to(texts / "book.txt")  # the same file again
    for pattern in ("", "**", "**/*.txt"):
        assert sorted(names(texts / pattern)) == ["C.txt", "linked.txt"]


def test_what_cannot_be_read_gives_a_notice(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (texts / "gone.txt").symlink_to(texts / "nothing")
    (texts / "circle").symlink_to(texts / "circle")
    write(texts / "private" / "a.txt")
    os.mkfifo(texts / "pipe.txt")
    listed = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "private":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    expected = {
        "they are links to nothing": 1,
        "they cannot be read (Too many levels of symbolic links)": 1,
        "they cannot be listed (Permission denied)": 1,
        "they are no regular files": 1,
    }
    assert skipped(texts) == skipped(texts / "**") == expected
    with pytest.raises(DataError, match="private cannot be read: Permission denied"):
        open_sources(texts / "private")


def test_a_dangling_link_that_was_named(texts: Path) -> None:
    (texts / "gone.txt").symlink_to(texts / "nothing")
    with pytest.raises(SourceNotFound, match=r"gone\.txt is a link to nothing"):
        open_sources(texts / "gone.txt")


def test_a_name_that_the_system_refuses(texts: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        open_sources("x" * 5000)
    with pytest.raises(SourceNotFound, match="no file or folder"):
        open_sources("a\0b")


def test_hidden_files_are_read_where_the_pattern_says_so(texts: Path) -> None:
    write(texts / ".hidden" / "a.txt")
    assert names(texts / ".h*" / "*.txt") == ["a.txt"]
    write(texts / "deep" / "a.md")
    assert names(texts / "d*" / ".." / "*.txt") == ["book.txt"]
