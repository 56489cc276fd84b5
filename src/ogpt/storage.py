"""Atomic writes: a file or folder is complete, or it is unchanged.

Write under a temporary name beside the target (the same file system, so that a rename is atomic),
flush to disk, then rename: a crash at any moment leaves the old content or the new. The temporary
name holds the process number, so that leftovers of killed processes can be recognized.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ogpt.errors import ConfigError, OgptError, OutputExists, StorageError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write; it becomes `path` when the block ends without an error.

    Raises:
        StorageError: the write fails; `path` is unchanged.
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
        with suppress(OSError):  # its parent may be a file
            temporary.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder; its files become those of `path` when the block ends without error.

    An empty folder is filled in place, as it may be a mount point or the current folder; any other
    is replaced. A link stays: the folder that it names is written.

    Raises:
        OutputExists: `path` was empty, and something else wrote into it during the block.
        StorageError: the write fails; `path` is unchanged.
    """
    target = path.resolve()
    empty = target.is_dir() and not held_names(target)
    name = f".{target.name}.{os.getpid()}"
    temporary = (target if empty else target.parent) / f"{name}.tmp"
    outgoing = target.with_name(f"{name}.old")
    try:
        _remove_leftovers(temporary.parent, f".{glob.escape(target.name)}.*.tmp")
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush_to_disk(file)
        if empty:
            _fill(target, temporary)
        else:
            if target.exists():  # no system call replaces a folder that is not empty
                target.rename(outgoing)
            temporary.rename(target)
    except OgptError:
        raise
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if outgoing.exists() and not target.exists():  # the second rename failed
            outgoing.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(outgoing, ignore_errors=True)


def _fill(folder: Path, temporary: Path) -> None:
    """Move all of `temporary` into the empty folder, or nothing."""
    check_empty(folder)
    moved: list[Path] = []
    try:
        for entry in sorted(temporary.iterdir()):
            moved.append(folder / entry.name)
            entry.rename(moved[-1])
    except BaseException:
        for entry in moved:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(True)
        raise


def held_names(folder: Path) -> list[str]:
    """The names in an existing folder that a command must not write over.

    Hidden files, and the folder lost+found of a mounted disk, do not count.
    """
    names = sorted(entry.name for entry in folder.iterdir())
    return [name for name in names if not name.startswith(".") and name != "lost+found"]


def check_empty(folder: Path) -> None:
    """Check that a folder is missing or empty, so that a command may fill it.

    Raises:
        OutputExists: it holds files, or is a file.
        StorageError: it cannot be listed.
    """
    try:
        held = held_names(folder) if folder.is_dir() else [folder.name] * folder.exists()
    except OSError as error:
        raise storage_error(folder, error) from error
    if held:
        holds = f" and holds {', '.join(held[:5])}" if folder.is_dir() else " and is a file"
        raise OutputExists(
            f"{folder} already exists{holds}", hint="choose another folder, new or empty"
        )


def check_writable(folder: Path) -> None:
    """Check, before the work, that a folder can be created or written to; nothing is left behind.

    Raises:
        StorageError: it cannot.
    """
    try:
        place = folder.resolve()
        while not place.is_dir():
            place = place.parent
        missing = folder.resolve().relative_to(place).parts
        probe = place / (missing[0] if missing else f".{os.getpid()}.tmp")
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise storage_error(folder, error) from error


def path_of(value: str | Path, argument: str) -> Path:
    """The path that an argument names.

    Raises:
        ConfigError: it is an empty text, which pathlib would take for the current folder.
    """
    if not str(value).strip():
        raise ConfigError(
            f"{argument} is {str(value)!r}; allowed: a path",
            hint="check for an empty shell variable; `.` is the current folder",
        )
    return Path(value)


@contextmanager
def whole_files(folder: Path, stale: Callable[[Path], set[Path]], last: str) -> Iterator[Path]:
    """Yield a temporary folder; its files move into `folder` when the block ends without an error.

    Everything that takes time or disk space happens before the first file moves. Leftovers of
    killed processes are removed.

    Args:
        folder: Created if missing; other files in it stay.
        stale: Returns the files of a folder that an earlier call may have written; those that are
            not written again are removed.
        last: Name of the file that moves last, if it is written: the index of the others.

    Raises:
        StorageError: the write fails; the files in `folder` are unchanged.
    """
    temporary = folder / f".files.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder, ".*.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        files = sorted(temporary.iterdir(), key=lambda file: (file.name == last, file.name))
        for file in files:
            _flush_to_disk(file)
        names = {file.name for file in files}
        old = stale(folder)
        # An index that describes several files goes first and comes last. A kill in between leaves
        # no index; left in place, it would name files of two saves.
        for index in old:
            if index.suffix == ".json" and index.name in names:
                index.unlink()
        for file in files:
            os.replace(file, folder / file.name)
        for file in sorted(old):
            if file.name not in names:
                _remove(file)
    except OgptError:
        raise
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Lock `folder` against other processes that write into it.

    The operating system releases the lock when the process ends, even when it is killed. A folder
    that this call created is removed again if it stays empty.

    Args:
        folder: Created if missing.

    Raises:
        OutputExists: another process holds the lock, or a file has this name.
        StorageError: the folder cannot be created or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExists(f"{folder} is a file", hint="choose another --out, or delete it")
    new = not folder.exists()
    try:
        folder.resolve().mkdir(parents=True, exist_ok=True)  # a link may name a missing folder
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
    """Lock `file` against other processes that write it.

    The lock is a hidden file beside it. The operating system releases it when the process ends.

    Args:
        file: The output file; it need not exist, but its folder must.

    Raises:
        OutputExists: another process holds the lock, or a folder has this name.
        StorageError: the folder does not exist or cannot be written to.
    """
    if file.is_dir():
        raise OutputExists(f"{file} is a folder", hint="choose a file for --out")
    if not file.absolute().parent.is_dir():
        raise StorageError(
            f"could not write {file}: there is no folder {file.parent}",
            hint="create the folder, or choose another one",
        )
    with _held(file.with_name(f".{file.name}.lock"), file):
        yield


@contextmanager
def _held(lock: Path, written: Path) -> Iterator[None]:
    """Hold a lock file, and remove it afterwards."""
    from filelock import FileLock, Timeout  # slow to import; `ogpt --help` does not need it

    try:
        held = FileLock(lock, blocking=False)
        held.acquire()
    except Timeout as error:
        raise OutputExists(
            f"another process is writing {'into ' * written.is_dir()}{written}",
            hint="wait until it ends, or choose another --out",
        ) from error
    except OSError as error:
        raise storage_error(written, error) from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        held.release()


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with whole_file(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        # a path that is not UTF-8 has lone surrogates, which become escapes of JSON
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def _remove(file: Path) -> None:
    try:
        file.unlink()
    except OSError as error:
        raise storage_error(file, error) from error


def _remove_leftovers(folder: Path, pattern: str) -> None:
    """Remove the temporary files and folders of killed processes."""
    for leftover in folder.glob(pattern):
        if not _is_running(leftover.name.split(".")[-2]):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _is_running(pid: str) -> bool:
    """Return whether another process of this machine has that number."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True  # another user's process, or not a process number: do not touch its files
    return int(pid) != os.getpid()  # this process writes one file of a name at a time


def _flush_to_disk(file: Path) -> None:
    with open(file, "rb") as stream:
        os.fsync(stream.fileno())


def storage_error(path: Path, error: OSError) -> OgptError:
    """Make the error for a failed write to `path`; an error of ours is returned as it is."""
    if isinstance(error, OgptError):
        return error
    refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    absent = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST)
    first = (
        "check the permissions" if refused else "check the path" if absent else "free some space"
    )
    return StorageError(
        f"could not write {path}: {error.strerror or error}",
        hint=f"{first}, or choose another folder; the previous content is unchanged",
    )
