"""Fixtures of the tests of the server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.gated import GatedDecoder
from tests.serving.running import Running, started
from tests.serving.small import save_small


@pytest.fixture
def gated() -> Iterator[GatedDecoder]:
    """The calls that an engine still waits for compute at the end."""
    decoder = GatedDecoder(is_open=False)
    yield decoder
    decoder.open()


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    return save_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def server(small_folder: Path) -> Iterator[Running]:
    """A server with one model."""
    with started({"small": small_folder}) as found:
        yield found
