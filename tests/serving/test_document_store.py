"""Documents in SQLite and, in the slow set, in PostgreSQL: one suite."""

import json
import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import alembic
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ogpt.errors import (
    BackendMissing,
    ConfigError,
    DamagedData,
    DocumentsUnavailable,
    RequestError,
    RevisionConflict,
    StorageError,
    UnknownDocument,
)
from ogpt.serving.documents import database as of_database
from ogpt.serving.documents.database import database_url, default_file, open_engine, place_of
from ogpt.serving.documents.document_store import DocumentStore
from ogpt.serving.documents.document_tables import METADATA, VERSION_TABLE
from tests.serving.postgresql import PostgreSQL


@pytest.fixture
def store(database: str) -> Iterator[DocumentStore]:
    found = DocumentStore.open(database)
    yield found
    found.close()


class TestDocuments:
    def test_kept_and_changed(self, store: DocumentStore, database: str) -> None:
        document, key = store.create('{"title": "one"}')
        assert (document.revision, document.share_id) == (1, None)
        changed = store.save(document.id, key, 1, '{"title": "two\\u0000"}')
        assert (changed.revision, changed.content) == (2, '{"title": "two\\u0000"}')
        assert changed.updated >= changed.created == document.created
        store.close()
        again = DocumentStore.open(database)
        assert again.get(document.id, key) == changed
        again.close()

    def test_ids_and_keys_are_unguessable_and_keys_are_not_kept(self, store: DocumentStore) -> None:
        made = [store.create("{}") for _ in range(20)]
        assert len({document.id for document, _ in made}) == len({key for _, key in made}) == 20
        for document, key in made:
            assert (len(document.id), len(key)) == (22, 32)  # 128 and 192 bits
        kept = json.dumps(list(store.rows()))
        assert not any(key in kept for _, key in made)

    def test_other_keys_open_nothing(self, store: DocumentStore) -> None:
        document, key = store.create("{}")
        other, other_key = store.create("{}")
        for name, wrong in (
            (document.id, other_key),
            (document.id, ""),
            (document.id, "\xe9"),
            ("no", key),
            ("\0", key),
            ("\ud83d", key),
            ("a" * 41, key),
        ):
            for call in (
                lambda name, wrong: store.get(name, wrong),
                lambda name, wrong: store.save(name, wrong, 1, "{}"),
                lambda name, wrong: store.delete(name, wrong),
                lambda name, wrong: store.share(name, wrong),
                lambda name, wrong: store.revoke(name, wrong),
            ):
                with pytest.raises(UnknownDocument, match="no such document") as caught:
                    call(name, wrong)
                assert "edit link" in caught.value.hint
        assert [row["revision"] for row in store.rows()] == [1, 1]
        assert store.get(other.id, other_key) == other

    def test_two_writers_of_one_revision(self, store: DocumentStore) -> None:
        document, key = store.create('{"title": "start"}')
        ours = store.save(document.id, key, 1, '{"title": "ours"}')
        with pytest.raises(RevisionConflict, match="has revision 2 now; the change is of 1") as it:
            store.save(document.id, key, 1, '{"title": "theirs"}')
        assert it.value.current == store.get(document.id, key) == ours
        assert store.save(document.id, key, 1, '{"title": "ours"}') == ours, "its answer was lost"
        for revision in (0, 3, -1):
            with pytest.raises(RevisionConflict):
                store.save(document.id, key, revision, '{"title": "ours"}')

    def test_a_client_chooses_id_and_key_of_a_new_document(self, store: DocumentStore) -> None:
        name, key = "d" * 32, "k" * 40
        made = store.save(name, key, 0, '{"title": "one"}')
        assert (made.id, made.revision) == (name, 1)
        assert store.save(name, key, 0, '{"title": "one"}') == made, "its answer was lost"
        with pytest.raises(RevisionConflict, match="has revision 1 now; the change is of 0") as it:
            store.save(name, key, 0, '{"title": "two"}')
        assert it.value.current == made == store.get(name, key)
        with pytest.raises(UnknownDocument):
            store.save(name, "x" * 40, 0, "{}")
        for wrong, wrong_key, message in (
            ("d" * 21, key, "document_id has 21 characters; allowed: 22 to 40 letters"),
            ("\xe9" * 32, key, "document_id has 32 characters"),
            ("e" * 32, "secret", "Edit-Key has 6 characters; allowed: 32 to 64 letters"),
        ):
            with pytest.raises(RequestError, match=message) as refused:
                store.save(wrong, wrong_key, 0, "{}")
            assert refused.value.hint == "make it of random bytes"
            assert "secret" not in str(refused.value)
        assert [row["id"] for row in store.rows()] == [name]

    def test_another_edit_key(self, store: DocumentStore) -> None:
        document, key = store.create("{}")
        new = "n" * 32
        store.change_edit_key(document.id, key, new)
        store.change_edit_key(document.id, key, new)  # its answer was lost
        assert store.get(document.id, new) == document
        with pytest.raises(UnknownDocument):
            store.get(document.id, key)
        with pytest.raises(UnknownDocument):
            store.change_edit_key(document.id, key, "o" * 32)
        with pytest.raises(RequestError, match="edit_key has 5 characters"):
            store.change_edit_key(document.id, new, "short")
        assert store.get(document.id, new) == document

    def test_of_many_writers_each_change_counts_once(self, store: DocumentStore) -> None:
        document, key = store.create("0")

        def add_one(number: int) -> None:
            while True:
                before = store.get(document.id, key)
                try:
                    store.save(document.id, key, before.revision, f"{before.content},{number}")
                    return
                except RevisionConflict:
                    pass

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add_one, range(1, 13)))
        found = store.get(document.id, key)
        assert found.revision == 13
        assert sorted(map(int, found.content.split(","))) == list(range(13))

    def test_deleted(self, store: DocumentStore) -> None:
        document, key = store.create("{}")
        link = store.share(document.id, key)
        store.delete(document.id, key)
        with pytest.raises(UnknownDocument):
            store.get(document.id, key)
        with pytest.raises(UnknownDocument):
            store.shared(link)
        assert list(store.rows()) == []

    def test_share_links(self, store: DocumentStore) -> None:
        document, key = store.create("{}")
        link = store.share(document.id, key)
        assert len(link) == 22
        assert store.share(document.id, key) == link != document.id
        changed = store.save(document.id, key, 1, '{"title": "new"}')
        assert store.shared(link) == changed, "a link shows the document as it is"
        store.revoke(document.id, key)
        for wrong in (link, document.id, "", "None"):
            with pytest.raises(UnknownDocument, match="link may have been revoked") as caught:
                store.shared(wrong)
            assert caught.value.hint == "ask for another link"
        assert store.share(document.id, key) != link

    def test_the_content_is_read_only_where_it_is_needed(self, store: DocumentStore) -> None:
        document, key = store.create("{}")
        seen: list[str] = []

        @sa.event.listens_for(store._writers, "before_cursor_execute")
        def see(connection: object, cursor: object, statement: str, *more: object) -> None:
            seen.append(statement)

        def reads_content() -> int:
            count = sum("SELECT" in one and "content" in one for one in seen)
            assert any("SELECT" in one for one in seen)
            seen.clear()
            return count

        store.save(document.id, key, 1, "new")
        assert reads_content() == 1
        for change in (store.share, store.revoke, store.delete):
            change(document.id, key)
            assert reads_content() == 0

    def test_backup(self, store: DocumentStore, tmp_path: Path) -> None:
        keys = {}
        for number in range(3):
            document, keys[document.id] = store.create(str(number))
        store.share(document.id, keys[document.id])
        rows = list(store.rows())
        first = rows[0]["id"]
        other = DocumentStore.open(tmp_path / "other.sqlite3")
        assert other.add_rows(rows[:2]) == (2, 0)
        kept = other.save(first, keys[first], 1, "changed there")
        assert other.add_rows(rows) == (1, 2)
        assert other.get(first, keys[first]) == kept
        assert list(other.rows())[1:] == rows[1:]
        with pytest.raises(DocumentsUnavailable):
            other.add_rows([{**rows[0], "id": "new", "share_id": None}, {"id": "broken"}])
        assert len(list(other.rows())) == 3, "all or none"
        other.close()


class TestSchema:
    def test_migrations_make_the_tables(self, store: DocumentStore) -> None:
        with store._readers.begin() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            assert compare_metadata(context, METADATA) == []

    def test_an_older_schema_is_migrated(self, database: str) -> None:
        store = DocumentStore.open(database)
        document, key = store.create("{}")
        with store._writers.begin() as connection:  # back to revision 0001
            connection.exec_driver_sql("DROP INDEX ogpt_documents_share_id")
            connection.exec_driver_sql("ALTER TABLE ogpt_documents DROP COLUMN share_id")
            connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
        with pytest.raises(DocumentsUnavailable):
            store.get(document.id, key)
        store.close()
        store = DocumentStore.open(database)
        assert store.get(document.id, key) == document
        assert store.shared(store.share(document.id, key)).id == document.id
        store.close()

    def test_a_migration_that_fails_changes_nothing(
        self, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            alembic.op.execute("nonsense")

        monkeypatch.setattr(alembic.op, "create_index", fail)
        with pytest.raises(DocumentsUnavailable, match="nonsense"):
            DocumentStore.open(database)
        engine = open_engine(database_url(database))
        assert sa.inspect(engine).get_table_names() == []
        engine.dispose()

    def test_a_newer_schema_is_refused(self, database: str) -> None:
        store = DocumentStore.open(database)
        with store._writers.begin() as connection:
            connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        store.close()
        with pytest.raises(ConfigError, match=r"have the schema 9999.*up to 0002") as caught:
            DocumentStore.open(database)
        assert "secret" not in str(caught.value)
        assert "upgrade ogpt" in caught.value.hint

    def test_several_servers_start_at_once(self, database: str) -> None:
        gate = threading.Barrier(4)

        def start(_: int) -> str:
            gate.wait()
            store = DocumentStore.open(database)
            document, _ = store.create("{}")
            store.close()
            return document.id

        with ThreadPoolExecutor(4) as threads:
            ids = set(threads.map(start, range(4)))
        store = DocumentStore.open(database)
        assert {row["id"] for row in store.rows()} == ids
        store.close()


class TestPostgreSQL:
    @pytest.mark.slow
    def test_a_full_disk(self, postgresql_server: PostgreSQL) -> None:
        store = DocumentStore.open(postgresql_server.new_schema())
        document, key = store.create("{}")
        with store._writers.begin() as connection:
            connection.exec_driver_sql(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = 'disk_full'; END $$"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER full_disk BEFORE UPDATE ON ogpt_documents EXECUTE FUNCTION fail()"
            )
        with pytest.raises(StorageError, match="the disk is full where the documents"):
            store.save(document.id, key, 1, "new")
        assert store.get(document.id, key) == document
        store.close()

    @pytest.mark.slow
    def test_connections_that_were_dropped(self, postgresql_server: PostgreSQL) -> None:
        url = postgresql_server.new_schema()
        store, other = DocumentStore.open(url), open_engine(database_url(url))
        document, key = store.create("{}")
        with other.begin() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert store.get(document.id, key) == document
        store.close()
        other.dispose()

    def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        where = f"postgresql://me:secret@/documents?host={tmp_path}"
        with pytest.raises(DocumentsUnavailable, match=r"are not available: .*socket") as caught:
            DocumentStore.open(where)
        assert "secret" not in str(caught.value)
        assert "me:***@/documents" in str(caught.value)

    def test_without_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(BackendMissing, match="documents in PostgreSQL need psycopg") as caught:
            DocumentStore.open("postgresql://host/name")
        assert caught.value.hint == "pip install 'ogpt[postgres]'"


class TestSQLite:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "kept" / "documents.sqlite3"

    def test_settings_and_access(self, file: Path) -> None:
        store = DocumentStore.open(file)
        with store._readers.begin() as connection:
            values = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous")
            ]
        assert values == ["wal", 2]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert store.place == str(file)
        store.close()

    def test_readers_do_not_wait_for_a_writer(self, file: Path) -> None:
        store = DocumentStore.open(file)
        document, key = store.create("{}")
        with store._writers.begin():
            assert store.get(document.id, key) == document
        store.close()

    def test_a_full_disk(self, file: Path, caplog: pytest.LogCaptureFixture) -> None:
        store = DocumentStore.open(file)
        document, key = store.create("{}")
        with store._writers.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with caplog.at_level(logging.ERROR), pytest.raises(StorageError) as caught:
            store.save(document.id, key, 1, "new" * 10_000)
        assert str(caught.value) == (
            "the disk is full where the documents of this server are kept: nothing was written"
        )
        assert "free space" in caught.value.hint
        assert "database or disk is full" in caplog.text
        assert store.get(document.id, key) == document
        store.close()

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError, match=r"could not write .*documents"):
            DocumentStore.open(tmp_path / "file" / "documents.sqlite3")

    def test_no_database(self, file: Path) -> None:
        file.parent.mkdir()
        file.write_bytes(b"a letter to a friend" * 500)
        with pytest.raises(DamagedData, match=f"{file} are damaged, or no database") as caught:
            DocumentStore.open(file)
        assert "restore a backup" in caught.value.hint
        assert file.read_bytes().startswith(b"a letter"), "left as it is"

    def test_a_damaged_database(self, file: Path) -> None:
        store = DocumentStore.open(file)
        document, key = store.create("a" * 100_000)
        store.close()
        with file.open("r+b") as damaged:
            damaged.seek(4096)
            damaged.write(b"\xff" * (file.stat().st_size - 4096))
        with pytest.raises(DamagedData):
            again = DocumentStore.open(file)
            again.get(document.id, key)

    def test_a_database_of_another_program(self, file: Path) -> None:
        file.parent.mkdir()
        with sqlite3.connect(file) as other:
            other.execute("CREATE TABLE songs (name TEXT)")
        other.close()
        with pytest.raises(DamagedData, match="another program: it has the table 'songs'") as it:
            DocumentStore.open(file)
        assert "another file" in it.value.hint

    def test_another_writer_that_does_not_end(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(of_database, "LOCK_SECONDS", 0)
        store = DocumentStore.open(file)
        document, key = store.create("{}")
        with store._writers.begin(), pytest.raises(DocumentsUnavailable, match=r"not available$"):
            store.save(document.id, key, 1, "new")
        store.close()

    def test_nothing_is_lost_when_the_process_is_killed(self, file: Path) -> None:
        command = [sys.executable, "-c", WRITER, str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            document_id, key = writer.stdout.readline().split()
            lines = [writer.stdout.readline() for _ in range(5)]
            os.kill(writer.pid, signal.SIGKILL)
            lines += writer.stdout.readlines()
        answered = max(int(line) for line in lines if line.endswith("\n"))
        store = DocumentStore.open(file)
        found = store.get(document_id, key)
        assert answered <= found.revision <= answered + 1
        assert found.content == str(found.revision) * 10_000
        store.close()


WRITER = """
import sys
from ogpt.serving.documents.document_store import DocumentStore
store = DocumentStore.open(sys.argv[1])
document, key = store.create("")
print(document.id, key, flush=True)
for revision in range(1, 10_000):
    store.save(document.id, key, revision, str(revision + 1) * 10_000)
    print(revision + 1, flush=True)
"""


class TestPlaces:
    def test_the_default_file(self, tmp_path: Path) -> None:
        home = Path.home()
        for environment, platform, folder in (
            ({}, "linux", home / ".local" / "share"),
            ({"XDG_DATA_HOME": "/data"}, "linux", Path("/data")),
            ({"XDG_DATA_HOME": "/data"}, "darwin", home / "Library" / "Application Support"),
            ({"LOCALAPPDATA": "/local"}, "win32", Path("/local")),
            ({}, "win32", home / "AppData" / "Local"),
        ):
            assert default_file(environment, platform) == folder / "ogpt" / "documents.sqlite3"
        assert place_of(database_url(None)) == str(tmp_path / "data/ogpt/documents.sqlite3")
        assert place_of(database_url("~/a.db")) == str(home / "a.db")

    def test_urls(self) -> None:
        for scheme in ("postgresql", "postgres", "postgresql+psycopg"):
            url = database_url(f"{scheme}://me:secret@host/name")
            assert place_of(url) == "postgresql://me:***@host/name"
        with pytest.raises(ConfigError, match="a URL of 'mysql'; allowed: postgresql") as caught:
            database_url("mysql://me:secret@host/name")
        assert "secret" not in str(caught.value)
        with pytest.raises(ConfigError, match=r"^documents is no URL of a database$"):
            database_url("postgresql://me:secret@host:port/name")


def test_a_file_that_is_deleted_takes_no_more_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite would write into the deleted file, and lose all with the last connection."""
    file = tmp_path / "documents.sqlite3"
    store = DocumentStore.open(file)
    document, key = store.create("{}")
    moved = file.rename(tmp_path / "moved")
    for _ in range(2):  # deleted, and replaced
        with pytest.raises(DocumentsUnavailable, match="are not available"):
            store.save(document.id, key, 1, "[]")
        assert f"{file} was deleted or replaced" in caplog.text
        caplog.clear()
        file.touch()
    moved.replace(file)
    assert store.save(document.id, key, 1, "[]").revision == 2
    store.close()
