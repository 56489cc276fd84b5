"""Documents in a database: kept, changed by those who have the edit key, read by share links.

Ids, edit keys and share ids are random and unguessable. Of an edit key only the hash is kept, so
that a copy of the database does not give the right to change it.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, RowMapping, select

from ogpt.errors import RequestError, RevisionConflict, UnknownDocument
from ogpt.serving.documents.database import (
    WRITES,
    database_errors,
    database_url,
    open_engine,
    place_of,
)
from ogpt.serving.documents.document_schema import migrate
from ogpt.serving.documents.document_tables import DOCUMENTS

_BATCH = 100  # documents that are read at once

_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")

# of clients: random bytes in base64 have this length, as ours have
_CHOSEN_ID = re.compile(r"[A-Za-z0-9_-]{22,40}")
_CHOSEN_KEY = re.compile(r"[A-Za-z0-9_-]{32,64}")


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is kept."""

    id: str
    revision: int
    """1, and one more with each change."""
    content: str
    """Title and spans, as JSON in ASCII."""
    created: int
    """Unix time in seconds."""
    updated: int
    share_id: str | None
    """None: it has no share link."""

    @property
    def tag(self) -> str:
        """Hash of the content: a restored database may have the same revision of other words."""
        return _tag(self.content)


_COLUMNS = StoredDocument.__slots__


class DocumentStore:
    """The documents of a database. Methods may be called from any thread.

    Every change is on the disk when its method returns, or an error is raised and nothing has
    changed. All methods raise StorageError if the disk is full, and DocumentsUnavailable or
    DamagedData if the database cannot be used.

    Args:
        engine: Of the database, with the newest tables.
        place: Name of the database for people.
    """

    def __init__(self, engine: Engine, place: str) -> None:
        self.place = place
        self._readers = engine
        self._writers = engine.execution_options(**{WRITES: True})

    @classmethod
    def open(cls, where: str | Path | None = None) -> Self:
        """Open a database, make it if it is missing, and bring its tables to the newest revision.

        Args:
            where: A URL that starts with postgresql://, or the path of a file of SQLite; None: a
                file in the user's data folder.

        Raises:
            ConfigError: a URL of another database, or tables of a newer version of ogpt.
            DamagedData: a file that is no database, or one of another program.
            StorageError: the file cannot be made.
            BackendMissing: psycopg is not installed.
        """
        url = database_url(where)
        place = place_of(url)
        engine = open_engine(url)
        store = cls(engine, place)
        try:
            with database_errors(place):
                migrate(store._writers, place)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close all connections."""
        self._readers.dispose()

    def create(self, content: str) -> tuple[StoredDocument, str]:
        """Keep a new document.

        Args:
            content: See StoredDocument.

        Returns:
            The document, and its edit key, which is not kept.
        """
        key = secrets.token_urlsafe(24)
        with self._writing() as connection:
            return _inserted(connection, secrets.token_urlsafe(16), key, content), key

    def get(self, document_id: str, edit_key: str) -> StoredDocument:
        """A document.

        Raises:
            UnknownDocument: there is none, or the key is another one.
        """
        with database_errors(), self._readers.begin() as connection:
            return _document(_checked(connection, document_id, edit_key, *_COLUMNS))

    def save(
        self, document_id: str, edit_key: str, revision: int, content: str, tag: str | None = None
    ) -> StoredDocument:
        """Change a document, unless somebody else has changed it; or make one.

        A change that was made already is no conflict: its answer may have been lost.

        Args:
            document_id: Of the document; of a new one, random: 22 to 40 letters, digits, - and _.
            edit_key: Likewise, of 32 to 64 characters.
            revision: The one that was changed; 0: there is none yet.
            content: The new content.
            tag: Of the content that was changed; None: of any.

        Raises:
            UnknownDocument: as in `get`.
            RevisionConflict: the document has another revision, or another content of the same
                one, which is its `current`.
            RequestError: id or key of a new document are too short.
        """
        if revision == 0:
            _check_chosen(_CHOSEN_ID, document_id, "document_id", "22 to 40")
            _check_chosen(_CHOSEN_KEY, edit_key, "Edit-Key", "32 to 64")
        with self._writing() as connection:
            if revision == 0 and _row(connection, "id", document_id, ("id",)) is None:
                return _inserted(connection, document_id, edit_key, content)
            compared = ("revision", "content") if tag else ()
            before = _checked(connection, document_id, edit_key, *compared)
            same = not tag or before["revision"] != revision or _tag(before["content"]) == tag
            # compared by the database: in PostgreSQL another writer may be between these lines
            changed = (
                same
                and connection.execute(
                    DOCUMENTS.update()
                    .where(DOCUMENTS.c.id == document_id, DOCUMENTS.c.revision == revision)
                    .values(revision=revision + 1, content=content, updated=int(time.time()))
                ).rowcount
            )
            now = _document(_checked(connection, document_id, edit_key, *_COLUMNS))
        if not changed and (now.revision, now.content) != (revision + 1, content):
            error = RevisionConflict(
                f"the document has revision {now.revision} now; the change is of {revision}"
                + ("" if same else ", as it was before"),
                hint="join both texts, and save them as a change of the newer revision",
            )
            error.current = now
            raise error
        return now

    def change_edit_key(self, document_id: str, edit_key: str, new_key: str) -> None:
        """Give a document another edit key: the one so far, and all edit links with it, end.

        The client chooses it, so that a call whose answer was lost can be repeated.

        Args:
            document_id: Of the document.
            edit_key: The one so far.
            new_key: Random: 32 to 64 letters, digits, - and _.

        Raises:
            UnknownDocument: as in `get`.
            RequestError: the new key is too short.
        """
        _check_chosen(_CHOSEN_KEY, new_key, "edit_key", "32 to 64")
        with self._writing() as connection:
            connection.execute(
                DOCUMENTS.update()
                .where(DOCUMENTS.c.id == document_id, DOCUMENTS.c.key_hash == _hash(edit_key))
                .values(key_hash=_hash(new_key))
            )
            _checked(connection, document_id, new_key)

    def delete(self, document_id: str, edit_key: str) -> None:
        """Remove a document and its share link.

        Raises:
            UnknownDocument: as in `get`.
        """
        with self._writing() as connection:
            _checked(connection, document_id, edit_key)
            connection.execute(DOCUMENTS.delete().where(DOCUMENTS.c.id == document_id))

    def share(self, document_id: str, edit_key: str) -> str:
        """The id of the share link, which is made if there is none.

        Raises:
            UnknownDocument: as in `get`.
        """
        with self._writing() as connection:
            _checked(connection, document_id, edit_key)
            # only if there is none: of two calls at once, both return the same one
            connection.execute(
                DOCUMENTS.update()
                .where(DOCUMENTS.c.id == document_id, DOCUMENTS.c.share_id.is_(None))
                .values(share_id=secrets.token_urlsafe(16))
            )
            return str(_checked(connection, document_id, edit_key, "share_id")["share_id"])

    def revoke(self, document_id: str, edit_key: str) -> None:
        """Make the share link invalid for ever; `share` makes another one.

        Raises:
            UnknownDocument: as in `get`.
        """
        with self._writing() as connection:
            _checked(connection, document_id, edit_key)
            connection.execute(
                DOCUMENTS.update().where(DOCUMENTS.c.id == document_id).values(share_id=None)
            )

    def shared(self, share_id: str) -> StoredDocument:
        """The document of a share link, as it is now.

        Raises:
            UnknownDocument: there is none, or the link was revoked.
        """
        with database_errors(), self._readers.begin() as connection:
            row = _row(connection, "share_id", share_id, _COLUMNS)
        if row is None:
            raise UnknownDocument(
                "there is no such shared document; its link may have been revoked",
                hint="ask for another link",
            )
        return _document(row)

    def rows(self) -> Iterator[dict[str, Any]]:
        """All documents as of one moment, each with all of its columns."""
        with database_errors(self.place), self._readers.begin() as connection:
            if connection.dialect.name == "postgresql":  # SQLite's transactions always are
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = connection.execution_options(yield_per=_BATCH).execute(
                select(DOCUMENTS).order_by(DOCUMENTS.c.id)
            )
            for row in found.mappings():
                yield dict(row)

    def add_rows(self, rows: Iterable[dict[str, Any]]) -> tuple[int, int]:
        """Add documents, all or none; those that are there already stay as they are.

        Args:
            rows: As `rows` yields them.

        Returns:
            The number of documents added, and of those that were there.
        """
        added = present = 0
        with database_errors(self.place), self._writers.begin() as connection:
            for row in rows:
                if _row(connection, "id", row["id"], ("id",)) is None:
                    connection.execute(DOCUMENTS.insert().values(**row))
                    added += 1
                else:
                    present += 1
        return added, present

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction of the block: whole, or without any change if it raises."""
        with database_errors(), self._writers.begin() as connection:
            yield connection


def _check_chosen(allowed: re.Pattern[str], value: str, name: str, length: str) -> None:
    """Refuse an id or key that others could guess; the value is not shown."""
    if not allowed.fullmatch(value):
        raise RequestError.of_field(
            f"{name} has {len(value)} characters; allowed: {length} letters, digits, - and _",
            hint="make it of random bytes",
            param=name,
        )


def _inserted(
    connection: Connection, document_id: str, edit_key: str, content: str
) -> StoredDocument:
    """A new document."""
    now = int(time.time())
    document = StoredDocument(document_id, 1, content, now, now, None)
    values = {name: getattr(document, name) for name in _COLUMNS}
    connection.execute(DOCUMENTS.insert().values(key_hash=_hash(edit_key), **values))
    return document


def _tag(content: str) -> str:
    return sha256(content.encode()).hexdigest()[:16]


def _hash(edit_key: str) -> str:
    # keys are random and long: no slow hash is needed
    return sha256(edit_key.encode()).hexdigest()


def _row(connection: Connection, key: str, value: str, columns: Iterable[str]) -> RowMapping | None:
    """Columns of the row that has this value in the column `key`."""
    if not _ID.fullmatch(value):  # clients send anything; databases refuse some characters
        return None
    found = select(*(DOCUMENTS.c[name] for name in columns)).where(DOCUMENTS.c[key] == value)
    return connection.execute(found).mappings().one_or_none()


def _checked(connection: Connection, document_id: str, edit_key: str, *columns: str) -> RowMapping:
    """Columns of a document, for those who have its key; its content may have megabytes."""
    row = _row(connection, "id", document_id, ("key_hash", *columns))
    if row is None or not hmac.compare_digest(str(row["key_hash"]), _hash(edit_key)):
        raise UnknownDocument(
            "there is no such document, or the edit key is of another one",
            hint="use the edit link of the document; it may have been deleted",
        )
    return row


def _document(row: RowMapping) -> StoredDocument:
    return StoredDocument(**{name: row[name] for name in _COLUMNS})
