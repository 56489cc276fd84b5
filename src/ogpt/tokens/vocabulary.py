"""A vocabulary with its merges, and the two files that store them.

Hugging Face names the files vocab.json and merges.txt; OpenAI named them encoder_bpe_40000.json and
vocab_40000.bpe. The content is the same. The merges file starts with a version line.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

from ogpt.errors import TokenizerError
from ogpt.layout import MERGES_FILE, OPENAI_MERGES_FILE, OPENAI_VOCAB_FILE, VOCAB_FILE
from ogpt.notices import tell
from ogpt.reading import parse_json, unreadable
from ogpt.storage import whole_file

END_OF_WORD = "</w>"
UNK_TOKEN = "<unk>"
NAMINGS = ((VOCAB_FILE, MERGES_FILE), (OPENAI_VOCAB_FILE, OPENAI_MERGES_FILE))
"""File names of a vocabulary and its merges: Hugging Face's, then OpenAI's."""
_VERSION = "#version:"
_FORMAT = "check the format: vocab.json maps tokens to ids, merges.txt has two symbols per line"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A map of token -> id, and the merges in order of rank.

    Raises:
        TokenizerError: the ids are not 0 to N-1, each once, or a symbol or result of a merge is not
            in the vocabulary.
    """

    vocab: dict[str, int]
    merges: list[tuple[str, str]]

    def __post_init__(self) -> None:
        _check_ids(self.vocab)
        _check_merges(self.vocab, self.merges)

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the tokens in the order of their ids, and the merges."""
        in_order = sorted(self.vocab, key=self.vocab.__getitem__)
        text = json.dumps([in_order, self.merges], ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def pairs_of(merges: Sequence[Any]) -> list[tuple[str, str]]:
    """Return merges as pairs; versions of `tokenizers` also write "left right"."""
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in merges)
    return [(str(left), str(right)) for left, right in pairs]


def find_vocabulary(folder: Path) -> tuple[Path, Path] | None:
    """Find the vocabulary and merges files of a folder, under either names; None without both.

    Raises:
        TokenizerError: only one of the two files exists.
    """
    for vocab_name, merges_name in NAMINGS:
        vocab_file, merges_file = folder / vocab_name, folder / merges_name
        if vocab_file.exists() and merges_file.exists():
            return vocab_file, merges_file
        if vocab_file.exists() or merges_file.exists():
            missing = merges_file if vocab_file.exists() else vocab_file
            raise TokenizerError(
                f"{folder} has only one of the two vocabulary files: {missing.name} is missing",
                hint=f"copy {missing.name} into the folder",
            )
    return None


def read_vocabulary(vocab_file: Path, merges_file: Path) -> Vocabulary:
    """Read the two files. A byte-order mark, CRLF and a missing final newline are accepted.

    Raises:
        TokenizerError: a file is missing or damaged, or the vocabulary is invalid.
    """
    vocabulary = Vocabulary(_read_vocab(vocab_file), _read_merges(merges_file))
    _check_complete(vocabulary, merges_file)
    return vocabulary


def check_word_ends(vocabulary: Vocabulary, source: Path) -> None:
    """Check that entries end words with `</w>`, as GPT-1's do; those of GPT-2 begin them with `Ġ`.

    Args:
        vocabulary: To check. One that has no letters at all passes.
        source: Where it comes from, for the error.

    Raises:
        TokenizerError: no entry does: every word would end with `<unk>`.
    """
    entries = vocabulary.vocab
    if len(entries) > 1 and not any(token.endswith(END_OF_WORD) for token in entries):
        raise TokenizerError(
            f"no entry of the vocabulary in {source} ends with {END_OF_WORD!r}, as the words of "
            f"GPT-1 do; the entries are like {max(entries, key=len)!r}",
            hint="use the vocabulary of a GPT-1 model; if this one is byte-level, pass "
            'pre_tokenizer=\'bytes\', or write "pre_tokenizer": "bytes" to tokenizer_config.json',
        )


def write_vocabulary(vocabulary: Vocabulary, vocab_file: Path, merges_file: Path) -> None:
    """Write the two files, each atomically, with tokens in the order of their ids.

    Raises:
        StorageError: the write fails.
    """
    in_order = dict(sorted(vocabulary.vocab.items(), key=lambda item: item[1]))
    with whole_file(vocab_file) as temporary:
        temporary.write_bytes(json.dumps(in_order, ensure_ascii=False).encode())
    lines = [f"{_VERSION} 0.2", *(f"{left} {right}" for left, right in vocabulary.merges)]
    with whole_file(merges_file) as temporary:
        temporary.write_bytes(("\n".join(lines) + "\n").encode())


def read_text(file: Path) -> str:
    """Read a UTF-8 file of a tokenizer, without byte-order mark and with its own newlines.

    Raises:
        TokenizerError: the file is missing or not UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise TokenizerError(
            f"there is no file {file}",
            hint="pass a folder with vocab.json and merges.txt, or tokenizer.json",
        ) from error
    except OSError as error:
        raise unreadable(file, error, TokenizerError) from error
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{file} is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}",
            hint="download the file again, or save it as UTF-8",
        ) from error


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object.

    Raises:
        TokenizerError: the file is missing, not UTF-8, not JSON, not an object, or has a key twice.
    """
    text = read_text(file)
    try:
        value = parse_json(text)
    except ValueError as error:
        raise TokenizerError(
            f"{file} is not valid JSON: {error}",
            hint="the file is damaged or incomplete: download it again",
        ) from error
    if not isinstance(value, dict):
        raise TokenizerError(
            f"{file} contains a JSON {type(value).__name__}; allowed: an object", hint=_FORMAT
        )
    return value


def _read_vocab(file: Path) -> dict[str, int]:
    vocab = read_json_object(file)
    if set(map(type, vocab.values())) - {int}:
        token, index = next(item for item in vocab.items() if type(item[1]) is not int)
        raise TokenizerError(
            f"{file} has the id {index!r} for {token!r}; allowed: integers", hint=_FORMAT
        )
    return vocab


def _read_merges(file: Path) -> list[tuple[str, str]]:
    """Read merges. Lines end only with LF or CRLF: str.splitlines would split at some symbols."""
    lines = [line.removesuffix("\r") for line in read_text(file).split("\n")]
    if lines[0].startswith(_VERSION):
        lines[0] = ""
    merges = [tuple(line.split(" ")) for line in lines if line]
    if set(map(len, merges)) - {2} or not all(map(all, merges)):
        number, line = next(
            (number, line)
            for number, line in enumerate(lines, 1)
            if line and (line.count(" ") != 1 or not all(line.split(" ")))
        )
        raise TokenizerError(
            f"{file}, line {number} is {line!r}; allowed: two symbols separated by one space",
            hint=_FORMAT,
        )
    return cast("list[tuple[str, str]]", merges)


def _check_complete(vocabulary: Vocabulary, merges_file: Path) -> None:
    """Check that no merge is repeated, and report words without one: both may change ids.

    A vocabulary may have such words on purpose; a download that stopped has them too.
    """
    made = set(map("".join, vocabulary.merges))
    if len(set(vocabulary.merges)) < len(vocabulary.merges):
        twice = Counter(vocabulary.merges).most_common(1)[0][0]
        raise TokenizerError(
            f"{merges_file} has the merge {' '.join(twice)!r} more than once",
            hint="download the file again: it is damaged",
        )
    missing = [
        token
        for token in vocabulary.vocab
        if token not in made and len(token) > len(END_OF_WORD) + 1 and token.endswith(END_OF_WORD)
    ]
    if missing:
        tell("merges-missing", path=merges_file, count=len(missing), example=missing[0])


def _check_ids(vocab: dict[str, int]) -> None:
    if not vocab:
        raise TokenizerError("the vocabulary is empty", hint=_FORMAT)
    if set(vocab.values()) == set(range(len(vocab))):  # the fast path; the loop finds the error
        return
    owner: dict[int, str] = {}
    for token, index in vocab.items():
        if index in owner:
            raise TokenizerError(
                f"id {index} belongs to both {owner[index]!r} and {token!r}",
                hint="use a different id for every token",
            )
        if not 0 <= index < len(vocab):
            raise TokenizerError(
                f"{token!r} has the id {index}; allowed: 0 to {len(vocab) - 1}, as there are "
                f"{len(vocab)} tokens",
                hint="number the tokens from 0 without gaps",
            )
        owner[index] = token


def _check_merges(vocab: dict[str, int], merges: list[tuple[str, str]]) -> None:
    if all(map(vocab.__contains__, chain(chain.from_iterable(merges), map("".join, merges)))):
        return
    for rank, (left, right) in enumerate(merges):
        for symbol in (left, right, left + right):
            if symbol not in vocab:
                raise TokenizerError(
                    f"merge {rank}, {left!r} + {right!r}, needs {symbol!r}, which is not in the "
                    "vocabulary",
                    hint="download both files again: they do not match, or one is damaged",
                )
