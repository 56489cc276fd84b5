"""Vocabulary files: both namings, every kind of damage, nothing lost."""

import json
from pathlib import Path

import pytest

from ogpt.errors import StorageError, TokenizerError
from ogpt.notices import collecting
from ogpt.tokens.vocabulary import (
    NAMINGS,
    Vocabulary,
    find_vocabulary,
    read_vocabulary,
    write_vocabulary,
)

VOCAB = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab": 5, "ab</w>": 6, "é\u2028": 7}
MERGES = [("a", "b"), ("a", "b</w>")]
TEXT = "#version: 0.2\na b\na b</w>\n"


def write(folder: Path, vocab: str | bytes, merges: str | bytes = TEXT) -> tuple[Path, Path]:
    paths = folder / "vocab.json", folder / "merges.txt"
    for path, content in zip(paths, (vocab, merges), strict=True):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return paths


@pytest.mark.parametrize("names", NAMINGS)
def test_round_trip_under_both_namings(tmp_path: Path, names: tuple[str, str]) -> None:
    files = tmp_path / names[0], tmp_path / names[1]
    write_vocabulary(Vocabulary(VOCAB, MERGES), *files)
    assert find_vocabulary(tmp_path) == files
    assert read_vocabulary(*files) == Vocabulary(VOCAB, MERGES)
    assert files[1].read_bytes() == TEXT.encode()
    assert list(json.loads(files[0].read_text("utf-8"))) == list(VOCAB)


def test_no_vocabulary_in_a_folder(tmp_path: Path) -> None:
    assert find_vocabulary(tmp_path) is None


@pytest.mark.parametrize(
    "merges",
    [
        TEXT,
        TEXT.rstrip("\n"),
        TEXT.replace("\n", "\r\n"),
        "\ufeff" + TEXT,
        TEXT.removeprefix("#version: 0.2\n"),
        TEXT.replace("\n", "\r\n").rstrip(),
    ],
    ids=["plain", "no last newline", "CRLF", "BOM", "no version", "CRLF, no last newline"],
)
def test_no_merge_is_lost(tmp_path: Path, merges: str) -> None:
    files = write(tmp_path, "\ufeff" + json.dumps(VOCAB), merges)
    assert read_vocabulary(*files).merges == MERGES


def test_symbols_may_be_any_characters(tmp_path: Path) -> None:
    """Those that str.splitlines and str.split cut at, and a '#' in the first line."""
    vocab = {s: i for i, s in enumerate(["#", "\u2028", "\x85", "\xa0", "#\u2028", "\x85\xa0"])}
    merges = [("#", "\u2028"), ("\x85", "\xa0")]
    files = write(tmp_path, json.dumps(vocab), "# \u2028\n\x85 \xa0\n")
    assert read_vocabulary(*files) == Vocabulary(vocab, merges)


@pytest.mark.parametrize(
    ("vocab", "merges", "message", "hint"),
    [
        ('{"a": 0, "b": 0}', "", "id 0 belongs to both 'a' and 'b'", "a different id"),
        ('{"a": 0, "b": 2}', "", "'b' has the id 2; allowed: 0 to 1", "without gaps"),
        ('{"a": -1}', "", "'a' has the id -1", "number the tokens"),
        ('{"a": 0, "a": 1}', "", "the key 'a' is there more than once", "incomplete"),
        ('{"a": 1.5}', "", "the id 1.5 for 'a'; allowed: integers", "vocab.json maps"),
        ('{"a": true}', "", "the id True", "vocab.json maps"),
        ("[1]", "", "contains a JSON list; allowed: an object", "vocab.json maps"),
        ('{"a": 0', "", "is not valid JSON", "incomplete"),
        ("{}", "", "the vocabulary is empty", "vocab.json maps"),
        (b'{"\xff": 0}', "", "is not UTF-8: byte 0xff at offset 2", "save it as UTF-8"),
        ('{"a": 0, "b": 1}', "a b\n", "merge 0, 'a' \\+ 'b', needs 'ab'", "do not match"),
        ('{"a": 0, "ab": 1}', "a b\n", "needs 'b'", "do not match"),
        ('{"a": 0}', "#version: 0.2\na b c\n", "line 2 is 'a b c'", "two symbols per line"),
        ('{"a": 0}', "#version: 0.2\na \n", "line 2 is 'a '", "two symbols per line"),
    ],
)
def test_damage_is_named(
    tmp_path: Path, vocab: str | bytes, merges: str, message: str, hint: str
) -> None:
    with pytest.raises(TokenizerError, match=message) as caught:
        read_vocabulary(*write(tmp_path, vocab, merges))
    assert hint in caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    vocab_file, merges_file = write(tmp_path, json.dumps(VOCAB))
    merges_file.unlink()
    with pytest.raises(TokenizerError, match=f"no file {merges_file}") as caught:
        read_vocabulary(vocab_file, merges_file)
    assert "merges.txt" in caught.value.hint
    with pytest.raises(TokenizerError, match=r"merges\.txt is missing") as caught:
        find_vocabulary(tmp_path)
    assert "copy merges.txt" in caught.value.hint


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    files = write(tmp_path, json.dumps(VOCAB))
    before = files[1].read_bytes()
    with pytest.raises(StorageError):
        write_vocabulary(Vocabulary(VOCAB, MERGES), tmp_path / "absent" / "vocab.json", files[1])
    assert files[1].read_bytes() == before


def test_the_digest_knows_order() -> None:
    digest = Vocabulary(VOCAB, MERGES).digest
    assert digest == Vocabulary(dict(reversed(VOCAB.items())), MERGES).digest
    assert digest != Vocabulary(VOCAB, MERGES[::-1]).digest
    assert digest != Vocabulary({**VOCAB, "a": 2, "b": 1}, MERGES).digest


def vocabulary_of_abc(folder: Path, merges: str) -> tuple[Path, Path]:
    tokens = ["<unk>", "a", "b", "c", "a</w>", "b</w>", "c</w>", "ab", "abc</w>"]
    return write(folder, json.dumps({t: i for i, t in enumerate(tokens)}), merges)


def test_a_merge_that_stands_twice(tmp_path: Path) -> None:
    files = vocabulary_of_abc(tmp_path, "#version: 0.2\na b\nab c</w>\na b\n")
    with pytest.raises(TokenizerError, match="has the merge 'a b' more than once") as caught:
        read_vocabulary(*files)
    assert "download the file again" in caught.value.hint


@pytest.mark.parametrize(("merges", "count"), [("#version: 0.2\na b\n", 1), ("", 1)])
def test_words_without_merges_are_kept_and_told(tmp_path: Path, merges: str, count: int) -> None:
    with collecting() as notices:
        found = read_vocabulary(*vocabulary_of_abc(tmp_path, merges))
    assert found.vocab["abc</w>"] == 8
    (notice,) = notices
    assert (notice.kind, notice.fields["count"]) == ("merges-missing", count)
    assert "'abc</w>'" in notice.message
    whole = vocabulary_of_abc(tmp_path, "#version: 0.2\na b\nab c</w>\n")
    assert len(read_vocabulary(*whole).merges) == 2
