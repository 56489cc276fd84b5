"""Prompts from a JSON Lines file, and continuations into another: in order, and resumable.

An output row has the fields of its input row and ours beside them. A row whose own fields have one
of our names is refused, so that nothing of the user's is overwritten.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ogpt.errors import ConfigError, DamagedData, DataError, OgptError, OutputExists
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.texts.continuing import Generation
from ogpt.layout import CONFIG_FILES, TOKENIZER_FILES, weights_files
from ogpt.reading import compression_of, parse_json, read_stdin, read_text
from ogpt.storage import sha256_of, storage_error

STDIN = "-"
"""Reads the rows from standard input."""

_FIELDS = ("prompt", "text")


class PromptRow(NamedTuple):
    """A row of the input."""

    prompt: str
    others: dict[str, Any]
    """The other fields, which are copied to the output."""
    name: str = "the prompt"
    """For messages: its line and file."""


def read_rows(file: Path) -> list[PromptRow]:
    """The rows of a JSON Lines file, by their `prompt`, or else `text`. Blank lines are skipped.

    Args:
        file: A file in UTF-8, perhaps compressed (.gz, .zst); `-` is standard input.

    Raises:
        DataError: the file cannot be read, has no rows, or a line is not an object with one of the
            two.
        DamagedData: a compressed file is incomplete or altered.
        BackendMissing: zstandard is not installed.
    """
    source = "standard input" if str(file) == STDIN else str(file)
    rows = [
        _row(f"line {number} of {source}", line)
        for number, line in enumerate(_content(file).split("\n"), 1)
        if line.strip()
    ]
    if not rows:
        raise DataError(f"{source} has no rows; at least one is required", hint="pass another file")
    return rows


def _content(file: Path) -> str:
    if str(file) == STDIN:
        return read_stdin()
    try:
        return "".join(text for text, _ in read_text(file, compression=compression_of(file)))
    except DamagedData:
        raise
    except DataError as error:
        raise DataError(
            str(error), hint="pass a JSON Lines file in UTF-8, which may be compressed (.gz, .zst)"
        ) from error


def _row(name: str, line: str) -> PromptRow:
    reason = ""
    try:
        fields = parse_json(line)
    except ValueError as error:
        fields, reason = None, f" ({error})"
    if isinstance(fields, dict):
        for field in _FIELDS:
            if isinstance(fields.get(field), str):
                return PromptRow(fields.pop(field), fields, name)
    raise DataError(
        f"{name} is {line[:60]!r}; it must be a JSON object with a text 'prompt' or 'text'{reason}",
        hint='for example {"prompt": "the cat"}',
    )


def check_output(file: Path) -> None:
    """Refuse names that promise what the output is not: a stream, or compressed.

    Raises:
        ConfigError: the file is `-`, or its name ends with .gz or .zst.
    """
    if str(file) == STDIN or compression_of(file):
        raise ConfigError(
            f"out is {str(file)!r}; allowed: an uncompressed file, to which a call can append",
            hint="pass for example --out texts.jsonl, and compress it afterwards",
        )


def check_fields(rows: Sequence[PromptRow], settings: GenerationSettings) -> None:
    """Refuse rows whose own fields the output would overwrite.

    Raises:
        DataError: a row has a field of one of our names.
    """
    ours = {"prompt", "request"}
    if settings.num_return_sequences > 1:
        ours.add("continuations")
    else:
        ours |= {"text", "finish_reason", "new_tokens", "log_prob"}
        if settings.top_logprobs:
            ours |= {"ids", "log_probs", "top_log_probs"}
    for row in rows:
        if clash := sorted(ours & row.others.keys()):
            raise DataError(
                f"{row.name} has the field {clash[0]!r}, which the output needs for itself; "
                f"allowed: any names but {', '.join(sorted(ours - {'prompt'}))}",
                hint=f"rename the field, for example to 'my_{clash[0]}'",
            )


def model_hash(folder: Path) -> str:
    """Hash of a model folder's configuration, tokenizer and weights."""
    held = {file.name for file in folder.glob("*")}
    names = [*CONFIG_FILES, *TOKENIZER_FILES, *weights_files(held).files]
    hashes = [(name, sha256_of(folder / name)) for name in names if name in held]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


class FinishedRows:
    """The output file, which holds complete rows in the order of the input.

    Each row holds a hash of all that its text depends on, so that only the same request resumes a
    file. A last row that a kill cut short is removed.

    Args:
        file: The file; it need not exist.
        rows: Rows of the input.
        asked: What the texts depend on besides their prompts, as values that JSON can hold.

    Attributes:
        count: Number of rows in the file.

    Raises:
        OutputExists: the file holds something else.
    """

    def __init__(self, file: Path, rows: Sequence[PromptRow], asked: Mapping[str, Any]) -> None:
        self.count = 0
        self._file = file
        self._rows = rows
        common = json.dumps(asked, sort_keys=True)
        self._keys = [
            hashlib.sha256(f"{common}\n{row.prompt}".encode(errors="replace")).hexdigest()[:16]
            for row in rows
        ]
        self._length = 0  # bytes of the complete rows
        if file.exists():
            self._read()

    def _read(self) -> None:
        try:
            *lines, _ = self._file.read_bytes().split(b"\n")
        except OSError as error:
            raise storage_error(self._file, error) from error
        for number, line in enumerate(lines):
            if number >= len(self._keys) or not self._answers(line, number):
                raise OutputExists(
                    f"line {number + 1} of {self._file} does not answer row {number + 1} of this "
                    "request: the input, the model or the settings differ",
                    hint="choose another --out, or delete the file to start over",
                )
            self._length += len(line) + 1
        self.count = len(lines)

    def _answers(self, line: bytes, number: int) -> bool:
        """Whether a line of the output belongs to a row: its request and the user's fields."""
        try:
            fields = json.loads(line)
        except ValueError:
            return False
        if not isinstance(fields, dict) or fields.get("request") != self._keys[number]:
            return False
        others = self._rows[number].others  # these come first, and then the prompt
        if list(fields)[: len(others) + 1] != [*others, "prompt"]:
            return False
        kept = {name: fields[name] for name in others}
        return json.dumps(kept) == json.dumps(others)  # as text, in which NaN equals NaN

    @contextmanager
    def appending(self, per_row: int = 1) -> Iterator[Callable[[int, Generation], None]]:
        """Open the file; yield a function that takes (number, continuation).

        Numbers count the continuations of all rows that are not in the file yet.

        Args:
            per_row: Number of continuations of each row.

        Raises:
            StorageError: the disk is full, or writing is not permitted.
        """
        first = self.count
        waiting: defaultdict[int, dict[int, Generation]] = defaultdict(dict)
        try:
            with open(self._file, "ab") as stream:
                stream.truncate(self._length)

                def append(number: int, generation: Generation) -> None:
                    waiting[first + number // per_row][number] = generation
                    while len(waiting[self.count]) == per_row:
                        whole = waiting.pop(self.count)
                        stream.write(self._line([whole[number] for number in sorted(whole)]))
                        stream.flush()
                        self.count += 1

                yield append
        except OgptError:
            raise
        except OSError as error:
            raise storage_error(self._file, error) from error

    def _line(self, generations: Sequence[Generation]) -> bytes:
        """The next row of the file."""
        row, key = self._rows[self.count], self._keys[self.count]
        written = [
            {
                "text": one.text,
                "finish_reason": one.finish_reason,
                "new_tokens": len(one.ids),
                "log_prob": sum(one.log_probs),
                **_of_tokens(one),
            }
            for one in generations
        ]
        answer = written[0] if len(written) == 1 else {"continuations": written}
        fields = {**row.others, "prompt": row.prompt, **answer, "request": key}
        # half a surrogate pair in a field of the user is escaped again, as JSON does it
        return (json.dumps(fields, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def _of_tokens(one: Generation) -> dict[str, Any]:
    """Values of each token, if the most probable tokens are reported."""
    if not one.top_log_probs:
        return {}
    return {"ids": one.ids, "log_probs": one.log_probs, "top_log_probs": one.top_log_probs}
