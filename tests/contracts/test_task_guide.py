"""The tables of the guide to the tasks are those of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from ogpt.evaluation.zero_shot_sets import ZERO_SHOT_SETS
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.probes import PROBES
from ogpt.tasks.published import Task
from ogpt.tasks.task_rows import column_roles
from tests.contracts.sources import ROOT

PAGE = (ROOT / "docs" / "guides" / "tasks.md").read_text("utf-8")


def facts() -> Iterator[str]:
    yield "| `--task` | data set | family | classes | measures | paper | terms |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for task in TASKS.values():
        paper = ", ".join(
            f"{score}" if name == "test" else f"{name} {score}"
            for name, score in task.paper.items()
        )
        row = (
            f"`{task.name}`",
            f"[{task.title}]({task.owner})",
            task.family,
            ", ".join(task.labels) or (f"1 of {task.choices}" if task.choices else "score"),
            ", ".join(task.metrics),
            paper,
            task.licence,
        )
        yield f"| {' | '.join(row)} |"


def files_of(task: Task) -> Iterator[str]:
    for layout in task.layouts:
        names = {
            split: " and ".join(f"`{pattern}`" for pattern in patterns)
            for split, patterns in layout.files.items()
        }
        rows = "; ".join(
            f"{release.name}: {', '.join(f'{n:,}' for n in release.rows.values())}"
            for release in layout.releases
        )
        row = (
            f"`{task.name}`",
            layout.title,
            "<br>".join(f"{split}: {each}" for split, each in names.items()),
            ", ".join(layout.columns),
            rows,
        )
        yield f"| {' | '.join(row)} |"


def files() -> Iterator[str]:
    yield "| `--task` | published as | files | columns | examples |"
    yield "| --- | --- | --- | --- | --- |"
    for task in TASKS.values():
        yield from files_of(task)


def probes() -> Iterator[str]:
    yield "| data set | file | cases | terms |"
    yield "| --- | --- | ---: | --- |"
    for probe in PROBES.values():
        row = (
            f"[{probe.title}]({probe.owner})",
            f"`{probe.file}`",
            str(probe.rows),
            probe.licence,
        )
        yield f"| {' | '.join(row)} |"


def scales() -> Iterator[str]:
    yield "| probe | data set | metric | chance | best known | source |"
    yield "| --- | --- | --- | ---: | ---: | --- |"
    for name, known in ZERO_SHOT_SETS.items():
        row = (
            f"`{name}`",
            known.title,
            known.metric,
            str(known.chance),
            str(known.best),
            known.source,
        )
        yield f"| {' | '.join(row)} |"


def test_the_tables_are_those_of_the_catalogue() -> None:
    for table in (facts, files, probes, scales):
        assert "\n" + "\n".join(table()) + "\n\n" in PAGE


def test_the_roles_of_columns_are_named() -> None:
    for family in {task.family for task in TASKS.values()}:
        roles = ", ".join(f"`{role}`" for role in column_roles(family))
        assert f"| `{family}` | {roles} |" in PAGE
