"""`ogpt reproduce`: the tables and figures of the paper, over the data sets that are there.

Every variant of a table is fine-tuned on every data set. What is finished is kept in OUT, so the
same command continues where it was stopped, and the page shows all tables made in one OUT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ogpt.config.described import check_names
from ogpt.errors import ConfigError, DamagedData
from ogpt.evaluation.paper_report import write_paper_report
from ogpt.evaluation.paper_results import (
    Reproduction,
    RunsFacts,
    averages,
    load_results,
    paper_score,
    save_results,
)
from ogpt.evaluation.paper_tables import FIGURE_2, NAMES
from ogpt.generation.texts.rows import model_hash
from ogpt.notices import each_once
from ogpt.reading import parse_json
from ogpt.reporting import Reporter, silent
from ogpt.storage import only_writer, write_json
from ogpt.tasks.catalogue import TASKS
from ogpt.version import __version__
from ogpt.workflows.reproduce_cells import CellResult, finished_cell, run_cell
from ogpt.workflows.reproduce_setup import MODELS_FILE, Cell, ReproduceRequest, Study, set_up_study


def reproduce(table: str, *, reporter: Reporter = silent, **arguments: Any) -> Reproduction:
    """Run a table or figure of the paper, and show its scores beside the paper's.

    OUT/report.html and OUT/report.md show all tables made in `out`; `TABLE.json` holds the scores,
    `runs/` the models, and `submissions/` the files for GLUE's server. Data sets that are not
    below `data` are listed with owner and terms.

    Args:
        table: table-2, table-3, table-4, table-5, figure-2 or rocstories.
        reporter: Receives all events (`ogpt.reporting`).
        **arguments: data, the folder with the data sets; model, to start from (by default OpenAI's
            on the Hub); out (by default runs/paper); seeds, the number of runs of each variant and
            data set (by default 1, and 10 for rocstories); overrides, `finetune.field=value` for
            all runs; lstm, a pre-trained LSTM, for table 5; run, a pre-training with --probes, for
            figure 2, whose right panel may have an LSTM's too.

    Raises:
        ConfigError: arguments that make no sense, or results in `out` of another model, other
            settings or other examples.
        SourceNotFound: none of the data sets is there.
        OutputExists: `out` holds other things, or another process writes into it.
        UnknownArgument: a name that is none of these.
        OgptError: as in `ogpt.finetune`.
    """
    check_names(reproduce, arguments, ReproduceRequest)
    request = ReproduceRequest.of(table, **arguments)
    with each_once():
        study = set_up_study(request)
        with only_writer(request.out):
            _check_same_models(study)
            done = {cell: finished_cell(study, cell) for cell in study.cells}
            made = None
            for number, cell in enumerate(study.cells, start=1):
                if done[cell] is None:
                    where = f"{cell.variant.title}, {TASKS[cell.task].title}"
                    reporter("message", text=f"{number} of {len(done)}: {where}")
                    done[cell] = run_cell(study, cell, reporter)
                    made = _kept(study, done)
            return made or _kept(study, done)


def _check_same_models(study: Study) -> None:
    """Check that the runs in `out` start from the same models, and record these.

    Raises:
        ConfigError: they started from others.
    """
    file = study.request.out / MODELS_FILE
    known = _known_models(file)
    for name, folder in (("model", study.model), ("lstm", study.lstm)):
        if folder is None:
            continue
        seen = model_hash(folder.path)
        if known.setdefault(name, seen) != seen:
            raise ConfigError(
                f"the runs in {study.request.out} started from another {name} than {folder.path}: "
                f"{known[name][:12]}, now {seen[:12]}",
                hint="choose another --out",
            )
    write_json(file, known)


def _known_models(file: Path) -> dict[str, str]:
    try:
        return dict(parse_json(file.read_text("utf-8"))) if file.exists() else {}
    except (ValueError, TypeError) as error:
        raise DamagedData(
            f"{file}, which names the models of the runs beside it, is damaged: {error!r}",
            hint="restore it from a copy, or delete it if --model and --lstm are those of before",
        ) from error


def _kept(study: Study, done: Mapping[Cell, CellResult | None]) -> Reproduction:
    """Write what is done so far: scores as data, and the page."""
    out = study.request.out
    made = _reproduction(study, done)
    file = out / f"{study.table.name}.json"
    if study.table.name == FIGURE_2 and file.exists():
        made = _with_other_panel(made, load_results(file))
    save_results(made, file)
    files = [out / f"{name}.json" for name in NAMES]
    page = write_paper_report(out, [load_results(file) for file in files if file.exists()])
    return replace(made, report=page)


def _with_other_panel(made: Reproduction, known: Reproduction) -> Reproduction:
    """Figure 2, whose panels may be made by a call each."""
    if not made.curves:
        made = replace(made, curves=known.curves)
    return made if made.scores or not known.scores else replace(known, curves=made.curves)


def _reproduction(study: Study, done: Mapping[Cell, CellResult | None]) -> Reproduction:
    table = study.table
    found = {cell: result for cell, result in done.items() if result is not None}
    scores = []
    for column in table.columns if study.digests else ():
        for variant in table.variants:
            result = found.get(Cell(variant, column.task))
            metric = TASKS[column.task].metrics[0]
            runs, examples = (result.runs, result.examples) if result else ((), {})
            scores.append(paper_score(table, variant, column, metric, runs, examples))
    return Reproduction(
        table=table.name,
        title=table.title,
        remark=table.remark,
        variants={one.name: one.title for one in table.variants},
        scores=(*averages(table, scores), *scores),
        runs=tuple(
            RunsFacts(
                variant=cell.variant.name,
                task=TASKS[cell.task].title,
                seeds=len(result.runs),
                examples=result.train_examples,
                wall_s=result.wall_s,
                flops=result.flops,
                machine=result.machine,
            )
            for cell, result in found.items()
        ),
        missing=study.missing,
        absent=study.absent,
        notes=tuple(
            dict.fromkeys(
                f"{TASKS[cell.task].title}: {note}"
                for cell, result in found.items()
                for note in result.notes
            )
        ),
        curves=study.curves,
        pending=len(done) - len(found),
        facts=_facts(study),
    )


def _facts(study: Study) -> dict[str, str]:
    facts = {"ogpt": __version__}
    for name, folder in (("model", study.model), ("LSTM", study.lstm)):
        if folder is not None:
            facts[name] = str(folder.path)
    if study.request.overrides:
        facts["settings"] = ", ".join(study.request.overrides)
    return facts
