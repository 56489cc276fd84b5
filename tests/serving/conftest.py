"""Fixtures of the tests of the server."""

from collections.abc import Iterator

import pytest

from tests.serving.gated import GatedDecoder


@pytest.fixture
def gated() -> Iterator[GatedDecoder]:
    """The calls that an engine still waits for compute at the end."""
    decoder = GatedDecoder(is_open=False)
    yield decoder
    decoder.open()
