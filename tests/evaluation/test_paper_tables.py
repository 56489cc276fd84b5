"""The paper's tables as data: complete, of the catalogue, and consistent with each other."""

from statistics import fmean

import pytest

from ogpt.config.finetune_settings import FinetuneSettings
from ogpt.config.loader import load_settings_of
from ogpt.errors import ConfigError
from ogpt.evaluation.paper_tables import (
    FIXED,
    NAMES,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    figure_2,
    table_named,
)
from ogpt.tasks.catalogue import TASKS


def test_the_twelve_data_sets_are_in_tables_2_to_4() -> None:
    tasks = [task for table in (TABLE_2, TABLE_3, TABLE_4) for task in table.tasks]
    assert sorted(tasks) == sorted(TASKS)


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_of_the_catalogue(name: str) -> None:
    table = table_named(name, 12)
    assert table.name == name
    for column in table.columns:
        tests = {split.rpartition("/")[2] for layout in TASKS[column.task].layouts
                 for split in layout.files if split.startswith("test")}  # fmt: skip
        assert set(column.splits) <= tests
    for scores in table.paper.values():
        assert len(scores) == len(table.columns)
    assert set(table.paper) <= {variant.name for variant in table.variants}


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_variants_exist(name: str) -> None:
    table = table_named(name, 2)
    for variant in table.variants:
        recipe = [f"finetune.recipe={variant.recipe}"] if variant.recipe else []
        overrides = [*table.settings, *variant.overrides, *recipe]
        assert load_settings_of(FinetuneSettings, overrides=overrides)


def test_scores_of_the_paper() -> None:
    first, *_, last = TABLE_2.columns
    assert (TABLE_2.paper_score("full", first), first.before) == (82.1, 80.6)
    assert (TABLE_2.paper_score("full", last), last.before) == (56.0, 61.7)
    assert TABLE_2.paper_score("lstm", first) is None
    nine = [
        one.title
        for table in (TABLE_2, TABLE_3, TABLE_4)
        for one in table.columns
        if one.before is not None and table.paper["full"][table.columns.index(one)] > one.before  # type: ignore[operator]
    ]
    beaten = {"MNLI-m", "MNLI-mm", "SNLI", "SciTail", "QNLI", "Story Cloze", "RACE-m", "RACE-h"}
    assert set(nine) == beaten | {"RACE", "CoLA", "STS-B", "QQP"}  # 9 of the 12 sets


def test_averages_are_those_of_the_columns() -> None:
    for variant, printed in TABLE_5.averages.items():
        assert fmean(TABLE_5.paper[variant]) == pytest.approx(printed, abs=0.11)  # type: ignore[arg-type]
    cola = TABLE_5.columns[:2]
    assert TABLE_5.paper_average("lstm", TABLE_5.columns) == 69.1
    assert TABLE_5.paper_average("lstm", cola) == 60.4
    assert TABLE_2.paper_average("full", TABLE_2.columns) is None


def test_table_5_repeats_the_scores_of_the_full_model() -> None:
    for column, score in zip(TABLE_5.columns, TABLE_5.paper["full"], strict=True):
        papers = TASKS[column.task].paper
        mean = fmean(papers[split] for split in column.splits)
        assert score == pytest.approx(mean, abs=0.051)


def test_figure_2_transfers_each_number_of_blocks() -> None:
    made = figure_2(12)
    assert [one.title for one in made.variants[:-1]] == [str(n) for n in range(12)]
    assert (made.variants[-1].name, made.variants[-1].title) == ("full", "12")
    assert (made.paper["transfer-00"], made.paper["full"]) == ((72.0, 40.0), (82.0, 60.0))
    assert "full" not in figure_2(2).paper  # of another model the end is another one


def test_another_name_is_refused() -> None:
    assert set(FIXED) < set(NAMES)
    with pytest.raises(ConfigError, match="the table is 'table-1'; allowed: table-2, table-3"):
        table_named("table-1", 12)
