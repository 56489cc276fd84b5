"""How the tables came to be: Alembic brings an older database to the newest revision."""
