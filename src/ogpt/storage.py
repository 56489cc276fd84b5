"""Writes that are whole or did not happen: a temporary name beside the target, then rename."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ogpt.errors import OgptError, OutputExists, StorageError


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
        with suppress(OSError):  # a file in the place of its folder
            temporary.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends well, it takes the place of `path`.

    Raises:
        StorageError: the disk is full or refuses; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    outgoing = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            if not _lives(leftover.name.split(".")[-2]):  # its process was killed
                shutil.rmtree(leftover)
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


@contextmanager
def whole_files(folder: Path, stale: Callable[[Path], set[Path]], last: str) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends well, its files take their places in `folder`.

    All that takes time or space happens before the first of them moves. What processes that were
    killed left behind is removed.

    Args:
        folder: Made if missing; other files in it stay.
        stale: Which files of a folder an earlier call may have written; those that are not written
            again are removed.
        last: Name of the file that moves last.

    Raises:
        StorageError: the disk is full or refuses; the files in `folder` are as they were.
    """
    temporary = folder / f".files.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.tmp"):
            if not _lives(leftover.name.split(".")[-2]):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        files = sorted(temporary.iterdir(), key=lambda file: (file.name == last, file.name))
        for file in files:
            _flush_to_disk(file)
        names = {file.name for file in files}
        old = stale(folder)
        for index in old:
            if (
                index.suffix == ".json" and index.name in names
            ):  # or it would name files of two saves
                index.unlink()
        for file in files:
            os.replace(file, folder / file.name)
        for file in old:
            if file.name not in names:
                file.unlink()
    except OgptError:
        raise
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is made if missing, against other processes that write into it.

    The lock ends with the process, however that ends. A folder that was made for the lock alone is
    removed again.

    Raises:
        OutputExists: another process holds it.
        StorageError: the folder cannot be made or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExists(f"{folder} is a file", hint="choose another --out, or delete it")
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    try:
        with _held(folder / ".lock", folder):
            yield
    finally:
        if new and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def only_writer_of(file: Path) -> Iterator[None]:
    """Hold `file`, which need not exist, against other processes that write it.

    The lock, a hidden file beside it, ends with the process, however that ends.

    Raises:
        OutputExists: another process holds it, or it is a folder.
        StorageError: its folder is not there or cannot be written to.
    """
    if file.is_dir():
        raise OutputExists(f"{file} is a folder", hint="choose a file for --out")
    if not file.absolute().parent.is_dir():
        raise StorageError(
            f"could not write {file}: there is no folder {file.parent}",
            hint="make the folder, or choose another one",
        )
    with _held(file.with_name(f".{file.name}.lock"), file):
        yield


@contextmanager
def _held(lock: Path, written: Path) -> Iterator[None]:
    """Hold a lock, which is removed afterwards."""
    from filelock import FileLock, Timeout  # takes a while to load

    try:
        held = FileLock(lock, blocking=False)
        held.acquire()
    except Timeout as error:
        raise OutputExists(
            f"another process is writing {'into ' * written.is_dir()}{written}",
            hint="wait until it has ended, or choose another --out",
        ) from error
    except OSError as error:
        raise storage_error(written, error) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        held.release()


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _lives(pid: str) -> bool:
    """Whether a process of this machine has that number."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True  # somebody else's, or no number of a process
    return int(pid) != os.getpid()


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
