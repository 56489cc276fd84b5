"""`ogpt demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ogpt.cli.answers import write
from ogpt.cli.command import reporter
from ogpt.cli.figures import demo_story


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/demo"),
) -> None:
    """Train and fine-tune a small GPT on Python's documentation."""
    import ogpt

    write(demo_story(ogpt.demo(out=out, reporter=reporter())))
