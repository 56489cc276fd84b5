"""The command line: thin functions over importable ones."""
