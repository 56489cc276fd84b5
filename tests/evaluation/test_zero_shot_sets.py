"""The sets of the zero-shot probes are found below a folder, read and cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogpt.errors import DataError, SourceNotFound
from ogpt.evaluation.zero_shot_sets import ZERO_SHOT_SETS, open_zero_shot_sets
from ogpt.notices import collecting
from tests.evaluation.probe_files import FILES, ROWS, write_probes
from tests.tasks.official_files import LAYOUTS, write_files


def test_all_sets_are_read(tmp_path: Path) -> None:
    with collecting() as notices:
        found = open_zero_shot_sets(write_probes(tmp_path))
    assert list(found) == list(ZERO_SHOT_SETS)
    assert {name: len(rows) for name, rows in found.items()} == dict.fromkeys(found, ROWS)
    assert {name: len(rows[0].candidates) for name, rows in found.items()} == {
        "cola": 1,
        "sst2": 2,
        "race": 4,
        "dprd": 2,
        "winograd": 2,
    }
    gold = {name: [row.gold for row in rows] for name, rows in found.items()}
    assert gold == dict.fromkeys(found, [0, 1] * 3) | {"race": [0, 1, 2] * 2}
    assert all(row.place for rows in found.values() for row in rows)
    assert {notice.kind for notice in notices} == {"rows-differ"}  # no split that is not needed


def test_only_validation_files_are_read(tmp_path: Path) -> None:
    write_files(tmp_path, {"CoLA/train.tsv": "damaged", "CoLA/test.tsv": ""})
    with collecting() as notices:
        found = open_zero_shot_sets(write_probes(tmp_path, *FILES))
    assert len(found["cola"]) == ROWS
    assert {notice.fields["split"].partition("/")[0] for notice in notices} == {"valid", "test"}


def test_the_owners_layouts_are_read_too(tmp_path: Path) -> None:
    write_files(tmp_path, LAYOUTS["sst2", 1] | LAYOUTS["cola", 1])
    with collecting():
        found = open_zero_shot_sets(tmp_path)
    assert [row.gold for row in found["cola"]] == [1, 0]
    assert [row.gold for row in found["sst2"]] == [1, 0]


def test_missing_sets_are_named_once(tmp_path: Path) -> None:
    with collecting() as notices:
        found = open_zero_shot_sets(write_probes(tmp_path, "cola", "dprd"))
    assert list(found) == ["cola", "dprd"]
    [missing] = [notice for notice in notices if notice.kind == "probes-missing"]
    assert missing.message.startswith("measuring without SST-2 (https://nlp.stanford.edu/sentiment")
    assert all(title in missing.message for title in ("RACE", "Winograd", str(tmp_path)))
    assert "CoLA" not in missing.message


def test_no_set_at_all(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no set of the zero-shot probes is in") as caught:
        open_zero_shot_sets(tmp_path)
    assert ZERO_SHOT_SETS["cola"].owner in caught.value.hint
    with pytest.raises(SourceNotFound, match="is not a folder"):
        open_zero_shot_sets(tmp_path / "gone")


def test_a_set_of_one_row(tmp_path: Path) -> None:
    (tmp_path / "CoLA").mkdir()
    (tmp_path / "CoLA" / "dev.tsv").write_text("x\t1\t\tShe goes.\n")
    with (
        collecting(),
        pytest.raises(DataError, match=r"CoLA in .* has 1 rows; allowed: 2") as caught,
    ):
        open_zero_shot_sets(tmp_path)
    assert caught.value.hint == "download the data set again"


def test_rows_are_cut_at_random_with_a_notice(tmp_path: Path) -> None:
    write_probes(tmp_path, "cola", "dprd")
    with collecting():
        whole = open_zero_shot_sets(tmp_path)
        same = open_zero_shot_sets(tmp_path, rows=ROWS)
    with collecting() as notices:
        cut = open_zero_shot_sets(tmp_path, rows=3)
        again = open_zero_shot_sets(tmp_path, rows=3)
    assert same == whole
    assert cut == again
    for name, rows in cut.items():
        places = [whole[name].index(row) for row in rows]
        assert places == sorted(places)
        assert len(set(places)) == 3
        assert places != [0, 1, 2]
    [first, _] = [notice for notice in notices if notice.kind == "probe-rows-cut"]
    assert first.message == (
        "the probes use 3 rows of each set, chosen with the seed 0, of CoLA (6), DPRD (6) "
        "(--set training.probe_rows=0 uses all)"
    )


@pytest.mark.parametrize("name", ZERO_SHOT_SETS)
def test_the_scale_of_a_set(name: str) -> None:
    known = ZERO_SHOT_SETS[name]
    assert 0 <= known.chance < known.best < 1
    assert any(year in known.source for year in ("2015", "2017", "2018"))
    assert known.chance == {"matthews": 0.0}.get(known.metric, 0.25 if name == "race" else 0.5)
