"""Hashes of the models of a server: which weights generated a text."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.texts.rows import model_hash


class ModelHashes:
    """Computes the hash of each model when it is first asked for: that reads all weights.

    Args:
        folders: The models by name; the files in them do not change while they are served.
    """

    def __init__(self, folders: Mapping[str, ModelFolder]) -> None:
        self._folders = folders
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def known(self, name: str) -> str | None:
        """The hash of a model, if it was computed."""
        return self._known.get(name)

    def of(self, name: str) -> str:
        """The hash of a model, which may take seconds; from any thread.

        Args:
            name: Of a model of the server.
        """
        with self._lock:
            if name not in self._known:
                self._known[name] = model_hash(self._folders[name].path)
            return self._known[name]
