"""One file a revision of the tables; released ones are never changed."""
