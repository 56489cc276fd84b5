"""`ogpt reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ogpt.cli.answers import answer, write
from ogpt.cli.command import reporter
from ogpt.cli.common_options import Json
from ogpt.cli.figures import reproduction
from ogpt.evaluation.paper_tables import NAMES


def reproduce(
    table: Annotated[str, typer.Argument(metavar="TABLE", help=f"One of {', '.join(NAMES)}.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with the data sets, anywhere below it.")
    ] = None,
    model: Annotated[
        Path, typer.Option(help="Model to start from: a model folder, a run or a Hub id.")
    ] = Path("openai-community/openai-gpt"),
    out: Annotated[
        Path, typer.Option(help="Folder of runs and report; run again to continue.")
    ] = Path("runs/paper"),
    lstm: Annotated[
        Path | None, typer.Option(help="Pre-trained LSTM, for table-5 and figure-2.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Pre-training run with --probes, for figure-2.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="finetune.FIELD=VALUE", help="Set one field; repeatable."),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Runs of each variant and data set.", show_default="1, and 10 for rocstories"
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Estimate cost and exit without training.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Reproduce a table or figure of the paper."""
    import ogpt

    arguments: dict[str, Any] = {
        "data": data,
        "model": model,
        "out": out,
        "seeds": seeds,
        "lstm": lstm,
        "run": run,
        "overrides": overrides or (),
        "reporter": reporter(),
    }
    if plan:
        answer(ogpt.reproduce_plan(table, **arguments), as_json=as_json)
        return
    made = ogpt.reproduce(table, **arguments)
    answer(made, as_json=True) if as_json else write(reproduction(made))
