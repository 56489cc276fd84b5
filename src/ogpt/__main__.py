"""`python -m ogpt` is `ogpt`."""

from ogpt.cli.main import run

run()
