"""A reader's hold on a checkpoint, which its run then does not remove.

A run removes checkpoints that are neither its best nor its last, while others may be reading them.
A reader therefore holds a shared lock on the checkpoint's config.json, and the run removes only
what it can lock alone. The operating system releases the lock of a process that ends, even when it
is killed, so nothing is left to clean up. Without such locks (Windows, some network file systems) a
checkpoint may be removed as soon as the run has a newer one.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from weakref import finalize

from ogpt.layout import CONFIG_FILE

if sys.platform != "win32":
    import fcntl


class Lease:
    """Keeps a checkpoint from being removed for as long as this object lives.

    Args:
        folder: The checkpoint. One that cannot be locked is not held.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = -1
        with suppress(OSError):
            self._file = os.open(folder / CONFIG_FILE, os.O_RDONLY)
            if sys.platform != "win32":
                fcntl.flock(self._file, fcntl.LOCK_SH)

    @property
    def in_place(self) -> bool:
        """Whether the checkpoint was still there when the lock was granted."""
        try:
            return os.path.samestat(os.fstat(self._file), (self.folder / CONFIG_FILE).stat())
        except OSError:
            return False

    def cover(self, reader: object) -> None:
        """Hold the checkpoint for as long as `reader`, which reads it later, lives too."""
        finalize(reader, id, self).atexit = False  # `finalize` refers to its argument till then

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)  # releases the lock

    def __reduce__(self) -> tuple[type[Lease], tuple[Path]]:
        """A copy, in another process too, has a lock of its own."""
        return Lease, (self.folder,)


def remove_unless_held(folder: Path) -> None:
    """Remove a checkpoint, unless a reader holds it; it then stays until a later call."""
    config = folder / CONFIG_FILE
    if sys.platform == "win32" or not config.exists():
        rmtree(folder)
        return
    # NFS grants a lock for one process alone only on a file that is open for writing
    file = os.open(config, os.O_RDWR if os.access(config, os.W_OK) else os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return
    except OSError:  # a file system without locks
        pass
    # In one step: a reader finds the whole checkpoint or none, and chooses again.
    gone = folder.rename(folder.with_name(f".{folder.name}.removed"))
    os.close(file)
    rmtree(gone)
