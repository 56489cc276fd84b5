"""Write several files and the index that names them, so that they always match."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ogpt.storage import storage_error, whole_file


@contextmanager
def files_together(index: Path, files: Sequence[Path]) -> Iterator[tuple[Path, list[Path]]]:
    """Yield temporary paths for `index` and `files`; they move into place when the block ends well.

    The old index is removed before the first file is replaced, and the new index comes last, so
    that no index ever names files of two saves.

    Raises:
        StorageError: the write fails. If it fails inside the block, nothing has changed.
    """
    with ExitStack() as stack:
        new_index = stack.enter_context(whole_file(index))
        yield new_index, [stack.enter_context(whole_file(file)) for file in files]
        index.unlink(missing_ok=True)


def remove_stale(files: Iterable[Path]) -> None:
    """Remove files of an earlier save; call it when the new files are in place.

    Raises:
        StorageError: a file cannot be removed.
    """
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(file, error) from error
