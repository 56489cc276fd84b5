"""Bringing a database to the newest revision of the tables, when it is opened."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, inspect, select

from ogpt.errors import ConfigError, DamagedData
from ogpt.serving.documents.document_tables import VERSION_TABLE

_LOCK = 0x6F677074  # "ogpt": the number of an advisory lock


def migrate(engine: Engine, place: str) -> None:
    """Make or change the tables; either all changes are made, or none.

    Of several servers that start at once, one makes them, and the others wait.

    Args:
        engine: Its transactions begin as writers.
        place: Name of the database, for errors.

    Raises:
        ConfigError: the database is of a newer version, or, for SQLite, of another program.
    """
    config = Config()
    config.set_main_option("script_location", "ogpt.serving.documents:migrations")
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        revision = _revision(connection, place)
        if revision == scripts.get_current_head():
            return
        known = {each.revision for each in scripts.walk_revisions()}
        if revision is not None and revision not in known:
            raise ConfigError(
                f"the documents in {place} have the schema {revision}, of a newer version of "
                f"ogpt; allowed: up to {scripts.get_current_head()}",
                hint="upgrade ogpt, or pass another place as --documents",
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: Connection, place: str) -> str | None:
    """The revision of the tables; None of an empty database."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    revision = context.get_current_revision()
    if revision is None and connection.dialect.name == "sqlite":
        held = inspect(connection).get_table_names()
        if held:
            raise DamagedData(
                f"{place} is a database of another program: it has the table {held[0]!r}",
                hint="pass another file as --documents",
            )
    return revision
