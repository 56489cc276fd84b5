"""Several files and the index that names them, written so that they are of one save."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ogpt.storage import storage_error, whole_file


@contextmanager
def files_together(index: Path, files: Sequence[Path]) -> Iterator[tuple[Path, list[Path]]]:
    """Yield temporary paths for `index` and `files`; when the block ends well, they take places.

    An old index goes before the first file is replaced and the new one comes last, so that no index
    ever names files of two saves.

    Raises:
        StorageError: the disk is full or refuses; if it was while the block wrote, what was there
            is as it was.
    """
    with ExitStack() as stack:
        new_index = stack.enter_context(whole_file(index))
        yield new_index, [stack.enter_context(whole_file(file)) for file in files]
        index.unlink(missing_ok=True)


def remove_stale(files: Iterable[Path]) -> None:
    """Remove what an earlier save left, once the new files are in place.

    Raises:
        StorageError: the disk refuses.
    """
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(file, error) from error
