"""`ogpt documents export`: a backup of all documents of a server."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

from ogpt.errors import SourceNotFound
from ogpt.serving.documents.database import database_url, place_of
from ogpt.serving.documents.document_store import DocumentStore
from ogpt.storage import path_of, whole_file


def export_documents(file: str | Path, documents: str | Path | None = None) -> int:
    """Write all documents of a server to a file of JSON Lines, which only its owner may read.

    The server may run. The file has the documents as of one moment, with their share links; of
    edit keys it has hashes, so that edit links work again after `import_documents`.

    Args:
        file: It is replaced when all documents are written.
        documents: Where the server keeps them: a file of SQLite or a URL that starts with
            postgresql://; None: a file in the user's data folder.

    Returns:
        The number of documents.

    Raises:
        SourceNotFound: there is no such file of documents.
        ConfigError: a URL of another database, or documents of a newer version of ogpt.
        StorageError, DamagedData: the documents cannot be read, or the file cannot be written.
        BackendMissing: psycopg is not installed.
    """
    target = path_of(file, "file")
    url = database_url(documents)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        raise SourceNotFound(
            f"there are no documents in {place_of(url)}",
            hint="pass the place that the server prints when it starts, as --documents",
        )
    count = 0
    with closing(DocumentStore.open(documents)) as store, whole_file(target) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="ascii") as lines:
            for row in store.rows():
                lines.write(json.dumps({**row, "content": json.loads(row["content"])}) + "\n")
                count += 1
    return count
