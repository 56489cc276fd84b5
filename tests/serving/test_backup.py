"""`ogpt documents export` and `import`: backups of all documents."""

import json
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import ogpt
from ogpt.errors import DamagedData, DataError, SourceNotFound, StorageError
from ogpt.serving.documents.document_content import DocumentContent
from ogpt.serving.documents.document_store import DocumentStore
from tests.cli.stand_ins import ok

TITLES = ("one", "two \ud83d", "three\u0000")


def content(title: str) -> str:
    spans: list[dict[str, Any]] = [{"text": title * 3, "by": "human", "of a page": [1.5, None]}]
    return DocumentContent.model_validate({"title": title, "spans": spans}).as_json()


@pytest.fixture
def keys(database: str) -> dict[str, str]:
    """Edit keys of some documents, by id; the last one is shared."""
    with closing(DocumentStore.open(database)) as store:
        made = [store.create(content(title)) for title in TITLES]
        store.share(made[-1][0].id, made[-1][1])
    return {document.id: key for document, key in made}


def kept(place: str | Path) -> list[dict[str, Any]]:
    with closing(DocumentStore.open(place)) as store:
        return list(store.rows())


def test_a_backup_restores_everything(database: str, keys: dict[str, str], tmp_path: Path) -> None:
    backup, other = tmp_path / "backup.jsonl", tmp_path / "other.sqlite3"
    said = ok("documents", "export", str(backup), "--documents", database).stderr
    assert f"3 documents written to {backup}" in said
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert (
        "3 documents imported"
        in ok("documents", "import", str(backup), "--documents", str(other)).stderr
    )
    assert kept(other) == kept(database)
    with closing(DocumentStore.open(other)) as store:
        titles = {json.loads(store.get(each, key).content)["title"] for each, key in keys.items()}
    assert titles == set(TITLES)
    assert not any(key in backup.read_text("ascii") for key in keys.values())


def test_what_is_there_stays(database: str, keys: dict[str, str], tmp_path: Path) -> None:
    backup = tmp_path / "backup.jsonl"
    assert ogpt.export_documents(backup, database) == 3
    [first, second, _] = keys
    with closing(DocumentStore.open(database)) as store:
        newer = store.save(first, keys[first], 1, content("newer"))
        store.delete(second, keys[second])
    said = ok("documents", "import", str(backup), "--documents", database).stderr
    assert "1 documents imported; 2 were there already, and are unchanged" in said
    with closing(DocumentStore.open(database)) as store:
        assert store.get(first, keys[first]) == newer
        assert store.get(second, keys[second]).revision == 1
    assert ogpt.import_documents(backup, database) == (0, 3)


def test_a_damaged_backup_adds_nothing(tmp_path: Path) -> None:
    place, backup = tmp_path / "a.sqlite3", tmp_path / "backup.jsonl"
    with closing(DocumentStore.open(place)) as store:
        store.create(content("one"))
    ogpt.export_documents(backup, place)
    whole = json.loads(backup.read_text())
    for line, reason in (
        ("", "Expecting value"),
        ("[]", "the line: Input should be"),
        (json.dumps({**whole, "id": "../x"}), "id: String should match"),
        (json.dumps({**whole, "revision": 0}), "revision: Input should be greater"),
        (json.dumps({**whole, "content": {"spans": 1}}), r"content\.spans: Input should be"),
        (json.dumps({**whole, "content": {"lens": float("nan")}}), "cannot be kept as JSON"),
        ("[" * 10_000, "line 2 is no document"),
        (json.dumps({**whole, "more": 1}), "more: Extra inputs"),
    ):
        backup.write_text(f"{json.dumps(whole)}\n{line}\n")
        with pytest.raises(DamagedData, match=rf"line 2 is no document.*{reason}|{reason}") as it:
            ogpt.import_documents(backup, tmp_path / "b.sqlite3")
        assert "nothing was imported" in it.value.hint
        assert kept(tmp_path / "b.sqlite3") == []


def test_places_that_are_missing(tmp_path: Path) -> None:
    nothing = tmp_path / "none.sqlite3"
    with pytest.raises(SourceNotFound, match=f"no documents in {nothing}") as caught:
        ogpt.export_documents(tmp_path / "backup.jsonl", nothing)
    assert "when it starts" in caught.value.hint
    assert not nothing.exists()
    with pytest.raises(SourceNotFound, match=str(tmp_path / "data" / "ogpt")):
        ogpt.export_documents(tmp_path / "backup.jsonl")
    with pytest.raises(DataError, match=r"none\.jsonl cannot be read"):
        ogpt.import_documents(tmp_path / "none.jsonl", nothing)
    assert not nothing.exists()
    with closing(DocumentStore.open(nothing)):
        pass
    with pytest.raises(StorageError, match=r"could not write .*backup\.jsonl"):
        ogpt.export_documents(tmp_path / "no" / "backup.jsonl", nothing)
