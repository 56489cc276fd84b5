"""PostgreSQL as the system has it, started in a temporary folder, with new tables per test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

from tests.serving.running import until


class PostgreSQL:
    """A running server, which listens on a socket of its folder only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()

    @property
    def url(self) -> str:
        return f"postgresql://postgres:secret@/postgres?host={self._folder}"

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    def new_schema(self) -> str:
        """A URL under which there are no tables; schemas are made faster than databases."""
        name = f"documents{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url}&options=-csearch_path%3D{name}"


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Start a server; skip the test if the system has none."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    initdb = shutil.which("initdb") or (programs and str(programs[-1] / "initdb"))
    if not initdb:
        pytest.skip("PostgreSQL is not installed")
    programs_of = Path(initdb).parent
    # a socket's path is at most 107 bytes; pytest's folders are longer, and closed to other users
    folder = Path(tempfile.mkdtemp(prefix="ogpt-postgresql-"))
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "postgres"
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
    data = folder / "data"
    try:
        subprocess.run(
            [programs_of / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"],
            check=True,
            capture_output=True,
            user=user,
            cwd=folder,
        )
        settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(
                [programs_of / "postgres", "-D", data, *options],
                user=user,
                cwd=folder,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            found = PostgreSQL(folder)
            try:
                until(found.is_ready)
                yield found
            finally:
                process.send_signal(signal.SIGINT)  # "fast shutdown"
    finally:
        shutil.rmtree(folder)
