"""A corpus becomes batches: sources, documents, shards, windows."""
