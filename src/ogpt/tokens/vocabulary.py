"""A vocabulary and its merges, and the two files that hold them.

Hugging Face names the files vocab.json and merges.txt, OpenAI encoder_bpe_40000.json and
vocab_40000.bpe; the content is the same. The merges file starts with a version line.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

from ogpt.errors import TokenizerError
from ogpt.reading import parse_json
from ogpt.storage import whole_file

END_OF_WORD = "</w>"
UNK_TOKEN = "<unk>"
VOCAB_FILE = "vocab.json"
MERGES_FILE = "merges.txt"
NAMINGS = ((VOCAB_FILE, MERGES_FILE), ("encoder_bpe_40000.json", "vocab_40000.bpe"))
_VERSION = "#version:"
_SEE = "vocab.json maps each token to its id; merges.txt has two symbols a line"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token to id, and the merges in order of rank.

    Raises:
        TokenizerError: ids that are not 0 to N-1, each once, or a merge of symbols that the
            vocabulary does not have, or whose result it does not have.
    """

    vocab: dict[str, int]
    merges: list[tuple[str, str]]

    def __post_init__(self) -> None:
        _check_ids(self.vocab)
        _check_merges(self.vocab, self.merges)

    @property
    def digest(self) -> str:
        """SHA-256 over tokens in the order of their ids and merges, in hexadecimal."""
        in_order = sorted(self.vocab, key=self.vocab.__getitem__)
        text = json.dumps([in_order, self.merges], ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def find_vocabulary(folder: Path) -> tuple[Path, Path] | None:
    """The vocabulary and merges files of a folder, under either naming; None if it has neither.

    Raises:
        TokenizerError: one of the two files is there without the other.
    """
    for vocab_name, merges_name in NAMINGS:
        vocab_file, merges_file = folder / vocab_name, folder / merges_name
        if vocab_file.exists() and merges_file.exists():
            return vocab_file, merges_file
        if vocab_file.exists() or merges_file.exists():
            missing = merges_file if vocab_file.exists() else vocab_file
            raise TokenizerError(
                f"{folder} has no {missing.name} beside its other vocabulary file",
                hint=f"a vocabulary is two files: copy {missing.name} into the folder",
            )
    return None


def read_vocabulary(vocab_file: Path, merges_file: Path) -> Vocabulary:
    """Read the two files. A byte-order mark, CRLF and a missing last newline do no harm.

    Raises:
        TokenizerError: a file that is missing or damaged, or a vocabulary that cannot be.
    """
    vocabulary = Vocabulary(_read_vocab(vocab_file), _read_merges(merges_file))
    _check_complete(vocabulary, merges_file)
    return vocabulary


def write_vocabulary(vocabulary: Vocabulary, vocab_file: Path, merges_file: Path) -> None:
    """Write the two files, tokens in the order of their ids; each whole or not at all.

    Raises:
        StorageError: the disk is full or refuses.
    """
    in_order = dict(sorted(vocabulary.vocab.items(), key=lambda item: item[1]))
    with whole_file(vocab_file) as temporary:
        temporary.write_bytes(json.dumps(in_order, ensure_ascii=False).encode())
    lines = [f"{_VERSION} 0.2", *(f"{left} {right}" for left, right in vocabulary.merges)]
    with whole_file(merges_file) as temporary:
        temporary.write_bytes(("\n".join(lines) + "\n").encode())


def read_text(file: Path) -> str:
    """A UTF-8 file of a tokenizer folder, less its byte-order mark, with its newlines as they are.

    Raises:
        TokenizerError: the file is missing or not UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise TokenizerError(
            f"there is no file {file}",
            hint="give a folder with vocab.json and merges.txt, or tokenizer.json",
        ) from error
    except UnicodeDecodeError as error:
        raise TokenizerError(
            f"{file} is not UTF-8: byte {error.object[error.start]:#04x} at offset {error.start}",
            hint="fetch the file again, or save it as UTF-8",
        ) from error


def read_json_object(file: Path) -> dict[str, Any]:
    """A JSON file that holds an object without repeated keys.

    Raises:
        TokenizerError: the file is missing, not UTF-8, not JSON, or not such an object.
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
            f"{file} holds a JSON {type(value).__name__}; it must hold an object", hint=_SEE
        )
    return value


def _read_vocab(file: Path) -> dict[str, int]:
    vocab = read_json_object(file)
    if set(map(type, vocab.values())) - {int}:
        token, index = next(item for item in vocab.items() if type(item[1]) is not int)
        raise TokenizerError(
            f"{file} gives {token!r} the id {index!r}; an id must be an integer", hint=_SEE
        )
    return vocab


def _read_merges(file: Path) -> list[tuple[str, str]]:
    """Lines end with LF or CRLF only: symbols may be characters that str.splitlines would cut."""
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
            f"{file}, line {number} is {line!r}; it must be two symbols with one space between",
            hint=_SEE,
        )
    return cast("list[tuple[str, str]]", merges)


def _check_complete(vocabulary: Vocabulary, merges_file: Path) -> None:
    """Check that no merge is missing or stands twice: both would give other ids in silence."""
    made = set(map("".join, vocabulary.merges))
    if len(set(vocabulary.merges)) < len(vocabulary.merges):
        twice = Counter(vocabulary.merges).most_common(1)[0][0]
        raise TokenizerError(
            f"{merges_file} has the merge {' '.join(twice)!r} more than once",
            hint="the file is damaged: fetch it again",
        )
    missing = [
        token
        for token in vocabulary.vocab
        if token not in made and len(token) > len(END_OF_WORD) + 1 and token.endswith(END_OF_WORD)
    ]
    if missing:
        raise TokenizerError(
            f"{merges_file} lacks the merges of {len(missing):,} words of the vocabulary, "
            f"{missing[0]!r} among them",
            hint="the file is cut short, or belongs to another vocabulary: fetch it again",
        )


def _check_ids(vocab: dict[str, int]) -> None:
    if not vocab:
        raise TokenizerError("the vocabulary is empty", hint=_SEE)
    if set(vocab.values()) == set(range(len(vocab))):  # what is wrong otherwise takes longer to say
        return
    owner: dict[int, str] = {}
    for token, index in vocab.items():
        if index in owner:
            raise TokenizerError(
                f"id {index} belongs to both {owner[index]!r} and {token!r}",
                hint="every token needs an id of its own",
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
                    hint="vocab.json and merges.txt do not belong together, or one is damaged",
                )
