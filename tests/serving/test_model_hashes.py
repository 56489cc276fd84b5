"""Hashes of models: each is computed once, and nobody waits for that of another model."""

import asyncio
import threading
from pathlib import Path

import pytest

from ogpt.folders.model_folder import ModelFolder
from ogpt.serving import model_hashes
from ogpt.serving.model_hashes import ModelHashes

PATIENCE = 20  # seconds until a test that waits has failed


def test_a_known_hash_waits_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    permit = threading.Event()

    def compute(folder: Path) -> str:
        computed.append(folder.name)
        assert folder.name == "a" or permit.wait(PATIENCE)
        return f"hash of {folder.name}"

    monkeypatch.setattr(model_hashes, "model_hash", compute)
    hashes = ModelHashes({name: ModelFolder(Path(name)) for name in "ab"})

    async def work() -> list[str]:
        assert hashes.known("a") is None
        assert await hashes.of("a") == "hash of a"
        waiting = [asyncio.create_task(hashes.of("b")) for _ in range(50)]
        try:
            async with asyncio.timeout(PATIENCE / 2):
                while computed != ["a", "b"]:
                    await asyncio.sleep(0.001)
                assert await hashes.of("a") == "hash of a"
                # nor do they hold the threads of other routes
                assert await asyncio.to_thread(hashes.known, "b") is None
        finally:
            permit.set()
        return await asyncio.gather(*waiting)

    assert set(asyncio.run(work())) == {"hash of b"}
    assert computed == ["a", "b"]
