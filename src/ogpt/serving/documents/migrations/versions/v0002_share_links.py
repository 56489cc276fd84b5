"""A document can have one share link."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the ids of share links; no two documents have the same."""
    op.add_column("ogpt_documents", sa.Column("share_id", sa.String(40)))
    op.create_index("ogpt_documents_share_id", "ogpt_documents", ["share_id"], unique=True)
