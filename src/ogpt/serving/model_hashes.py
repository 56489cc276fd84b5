"""Hashes of the models of a server: which weights generated a text."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

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
        # not in the pool of all routes, which those who wait would fill
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ogpt-hash")

    def known(self, name: str) -> str | None:
        """The hash of a model, if it was computed."""
        return self._known.get(name)

    async def of(self, name: str) -> str:
        """The hash of a model, at once if it is known; reading weights may take seconds.

        Args:
            name: Of a model of the server.
        """
        if name not in self._known:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, name)
        return self._known[name]

    def _compute(self, name: str) -> None:
        if name not in self._known:  # others may have waited for it too
            self._known[name] = model_hash(self._folders[name].path)
