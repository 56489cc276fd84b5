"""Opening the database of the documents: a file of SQLite, or PostgreSQL by URL.

SQLite runs in WAL mode, in which readers do not wait, and with `synchronous=FULL`: what was
answered with 200 is on the disk, and survives a killed server and a power failure.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from ogpt.errors import (
    BackendMissing,
    ConfigError,
    DamagedData,
    DocumentsUnavailable,
    StorageError,
)
from ogpt.storage import storage_error

LOGGER = logging.getLogger(__name__)

LOCK_SECONDS = 10
"""How long a writer waits for another one, and how long connecting may take."""

WRITES = "ogpt_writes"
"""The execution option of engines whose transactions write."""

_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")


def default_file(environment: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Where documents are kept unless another place is given: the user's data folder.

    Args:
        environment: Variables that move it (XDG Base Directory Specification; on Windows
            LOCALAPPDATA).
        platform: As `sys.platform`.
    """
    home = Path.home()
    if platform == "win32":
        folder = Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif platform == "darwin":
        folder = home / "Library" / "Application Support"
    else:
        folder = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    return folder / "ogpt" / "documents.sqlite3"


def database_url(where: str | Path | None) -> URL:
    """The URL of a database.

    Args:
        where: A URL that starts with postgresql://, the path of a file of SQLite, or None for the
            default file.

    Raises:
        ConfigError: a URL that is not of PostgreSQL.
    """
    if "://" not in str(where):
        file = default_file() if where is None else Path(where).expanduser()
        return URL.create("sqlite", database=str(file.absolute()))
    scheme = str(where).partition("://")[0]
    hint = "pass for example postgresql://user@host/name, or a path"
    if scheme not in _POSTGRESQL:
        raise ConfigError(
            f"documents is a URL of {scheme!r}; allowed: postgresql, or a path of a file of SQLite",
            hint=hint,
        )
    try:
        return make_url(str(where)).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError) as error:  # not shown: it may hold a password
        raise ConfigError("documents is no URL of a database", hint=hint) from error


def place_of(url: URL) -> str:
    """Name of a database for people, without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def open_engine(url: URL) -> Engine:
    """Connections to a database; the file of SQLite is made if it is missing, for its user only.

    Args:
        url: From `database_url`.

    Raises:
        StorageError: the file or its folder cannot be made.
        BackendMissing: psycopg is not installed.
    """
    if url.get_backend_name() == "sqlite":
        file = Path(str(url.database))
        _make_file(file)
        engine = create_engine(url, connect_args={"timeout": LOCK_SECONDS})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _check_same_file(file))
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        # a server that was restarted, or dropped idle connections, is connected to again
        return create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": LOCK_SECONDS}
        )
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"documents in PostgreSQL need psycopg: {error}", hint="pip install 'ogpt[postgres]'"
        ) from error


def _make_file(file: Path) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise storage_error(file, error) from error


def _check_same_file(file: Path) -> Callable[[Connection], None]:
    """Refuse transactions in a file that was deleted or replaced: their changes would be lost."""
    known = _identity(file)

    def check(_: Connection) -> None:
        if _identity(file) != known:
            cause = FileNotFoundError(f"{file} was deleted or replaced: restart the server")
            raise OperationalError("BEGIN", None, cause)

    return check


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _set_up_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, before tables too
    for line in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {line}")


def _begin_sqlite(connection: Connection) -> None:
    # a reader that becomes a writer would fail at once, without waiting, if another one writes
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def database_errors(place: str = "") -> Iterator[None]:
    """Turn errors of the database into errors of ours.

    Args:
        place: Name of the database. Empty: neither it nor the cause is shown, as the message is for
            clients of the server; the log has the cause.

    Raises:
        StorageError: its disk is full.
        DamagedData: a file that is no database, or damaged.
        DocumentsUnavailable: any other failure.
    """
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        reason = str(cause).strip().partition("\n")[0]
        if not place:
            LOGGER.error("documents: %s", reason)
        named = f"the documents in {place}" if place else "the documents of this server"
        raise _described(cause, named, f": {reason}" if place else "") from error


def _described(cause: BaseException, named: str, reason: str) -> StorageError | DamagedData:
    name: str = getattr(cause, "sqlite_errorname", "")
    state: str = getattr(cause, "sqlstate", None) or ""
    if name == "SQLITE_FULL" or state == "53100":
        return StorageError(
            f"the disk is full where {named} are kept: nothing was written",
            hint="free space there, and save again",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or state in ("XX001", "XX002"):
        return DamagedData(
            f"{named} are damaged, or no database{reason}",
            hint="restore a backup (ogpt documents import) into another place (--documents)",
        )
    return DocumentsUnavailable(
        f"{named} are not available{reason}", hint="check the database, and try again"
    )
