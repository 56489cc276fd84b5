"""`ogpt documents import`: documents from a backup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ogpt.errors import DamagedData
from ogpt.reading import unreadable
from ogpt.serving.documents.document_content import DocumentContent
from ogpt.serving.documents.document_store import DocumentStore
from ogpt.storage import path_of

_Id = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,40}$")]


class _BackupLine(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: _Id
    key_hash: str = Field(pattern="^[0-9a-f]{64}$")
    revision: int = Field(ge=1, lt=2**31)
    content: DocumentContent
    created: int
    updated: int
    share_id: _Id | None


def import_documents(file: str | Path, documents: str | Path | None = None) -> tuple[int, int]:
    """Add the documents of a backup; all of them, or none if a line is damaged.

    Documents that are there already stay as they are, whatever their revision, so that nothing that
    was written since the backup is lost. To go back to a backup, import it into a new place.

    Args:
        file: From `export_documents`.
        documents: Where they are kept, as in `export_documents`; it is made if it is missing.

    Returns:
        The number of documents added, and of those that were there.

    Raises:
        DataError: the file cannot be read; DamagedData: a line of it is no document.
        ConfigError: a URL of another database, or documents of a newer version of ogpt.
        StorageError: the documents cannot be written.
        BackendMissing: psycopg is not installed.
    """
    source = path_of(file, "file")
    try:
        lines = source.open("rb")
    except OSError as error:
        raise unreadable(source, error) from error
    with lines, closing(DocumentStore.open(documents)) as store:
        return store.add_rows(_rows(source, lines))


def _rows(source: Path, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The rows of a backup, each checked."""
    for number, line in enumerate(lines, 1):
        try:
            # Python's parser: text may hold half a surrogate pair, which pydantic's refuses
            row = _BackupLine.model_validate(json.loads(line))
            content = row.content.as_json()
        except (ValueError, RecursionError) as error:
            reason = str(error)
            if isinstance(error, ValidationError):
                wrong = error.errors()[0]
                reason = f"{'.'.join(map(str, wrong['loc'])) or 'the line'}: {wrong['msg']}"
            raise DamagedData(
                f"{source}, line {number} is no document: {reason}",
                hint="pass a file that `ogpt documents export` wrote; nothing was imported",
            ) from error
        yield {**row.model_dump(exclude={"content"}), "content": content}
