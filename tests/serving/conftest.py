"""Fixtures of the tests of the server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.gated import GatedDecoder
from tests.serving.postgresql import PostgreSQL, postgresql
from tests.serving.running import Running, running, started
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


@pytest.fixture(scope="module")
def server_with_documents(
    small_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server that keeps documents in SQLite."""
    file = tmp_path_factory.mktemp("documents") / "documents.sqlite3"
    with running({"small": small_folder}, documents=str(file)) as url:
        yield url


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are never kept in the folders of the user who runs the tests."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQL]:
    """Documents of several servers; the slow tests start it."""
    with postgresql() as found:
        yield found


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database for documents, as `--documents` names it."""
    if request.param == "sqlite":
        return str(tmp_path / "kept" / "documents.sqlite3")
    server: PostgreSQL = request.getfixturevalue("postgresql_server")
    return server.new_schema()
