"""The tables of the newest revision, as `migrations` makes them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

# The names begin with ogpt: a PostgreSQL database may hold tables of other programs.
VERSION_TABLE = "ogpt_documents_version"
"""Holds the revision of the tables."""

DOCUMENTS = Table(
    "ogpt_documents",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("key_hash", String(64), nullable=False),  # SHA-256 of the edit key, in hexadecimal
    Column("revision", Integer, nullable=False),  # 1, and one more with each change
    # JSON in ASCII: PostgreSQL's text and JSON types cannot hold the character U+0000
    Column("content", Text, nullable=False),
    Column("created", BigInteger, nullable=False),  # Unix time in seconds
    Column("updated", BigInteger, nullable=False),
    Column("share_id", String(40)),
    Index("ogpt_documents_share_id", "share_id", unique=True),
)
