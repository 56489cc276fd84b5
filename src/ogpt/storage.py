"""Writes that are whole or did not happen: a temporary name beside the target, then rename."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ogpt.errors import OgptError, StorageError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, it becomes `path`.

    Raises:
        StorageError: the disk is full or refuses; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, path)
    except OgptError:
        raise
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends well, it takes the place of `path`.

    Raises:
        StorageError: the disk is full or refuses; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    outgoing = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush_to_disk(file)
        if path.exists():
            path.rename(outgoing)
        temporary.rename(path)
    except OgptError:
        raise
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if outgoing.exists() and not path.exists():  # the swap did not happen
            outgoing.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(outgoing, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _flush_to_disk(file: Path) -> None:
    with open(file, "rb") as stream:
        os.fsync(stream.fileno())


def storage_error(path: Path, error: OSError) -> StorageError:
    """What to raise when a write into `path` failed with `error`; an error of ours stays itself."""
    if isinstance(error, StorageError):
        return error
    return StorageError(
        f"could not write {path}: {error.strerror or error}",
        hint="free some space or choose another folder; what was there before is unchanged",
    )
