"""`ogpt.finetune` on data sets of the paper, from their official files."""

from pathlib import Path

import pytest

import ogpt
from ogpt.errors import ConfigError
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.task_spec import task_of
from tests.tasks.official_files import LAYOUTS, table, write_files
from tests.workflows.finetuning import base_model

SETTINGS = ("finetune.batch_size=2", "finetune.threads=1", "finetune.epochs=1")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return base_model(tmp_path_factory.mktemp("base"), n_positions=64, n_embd=16, n_layer=1)


@pytest.mark.parametrize(
    ("name", "number", "metric", "tests"),
    [
        ("mnli", 2, "accuracy", set()),
        ("stsb", 0, "pearson", set()),
        ("mrpc", 1, "f1", {"test"}),
        ("race", 0, "accuracy", {"middle", "high", "all"}),
        ("cola", 0, "matthews", set()),
    ],
)
def test_a_data_set_is_learned_and_its_labelled_tests_scored(
    base, tmp_path, name, number, metric, tests
):
    write_files(tmp_path / "data", LAYOUTS[name, number])
    if name == "cola":
        rows = ["a|1||a good film", "a|0|*|film good a"] * 4
        write_files(tmp_path / "data", {"CoLA/train.tsv": table(*rows)})
        write_files(tmp_path / "data", {"CoLA/dev.tsv": table(*rows)})
    with collecting():
        result = ogpt.finetune(
            model=base,
            out=tmp_path / "run",
            task=name,
            data=tmp_path / "data",
            overrides=SETTINGS,
        )
    assert metric in result.valid
    assert set(result.test) == tests
    assert {name: 100 * value for name, value in result.paper_scores.items()} == pytest.approx(
        TASKS[name].paper
    )
    folder = ModelFolder.open(result.out)
    spec = task_of(folder.config, folder.path)
    assert (spec.name, spec.metrics[0]) == (name, metric)
    card = next((tmp_path / "run" / "checkpoints").glob("*/README.md")).read_text("utf-8")
    assert ("transformers scores the given one alone" in card) == (spec.family == "similarity")
    if name == "cola":
        official, sent = tmp_path / "data" / "CoLA", tmp_path / "CoLA.tsv"
        with collecting():  # unknown tokens
            (found,) = ogpt.predict(result.out, official / "test.tsv", out=sent, format="glue")
            evaluation = ogpt.evaluate(result.out, official / "dev.tsv")
        assert found.id == "0"
        written = sent.read_text("utf-8")
        assert written == f"index\tprediction\n0\t{spec.labels.index(found.label)}\n"
        assert "matthews" in evaluation.scores
        with collecting():
            again = ogpt.evaluate(result.out, tmp_path / "data", split="valid")
            ogpt.predict(result.out, tmp_path / "data", out=official, format="glue")
        assert again == evaluation
        assert again.paper_score == 0.454  # of the test set
        assert (official / "CoLA.tsv").read_text("utf-8") == written
        with (
            collecting(),
            pytest.raises(ConfigError, match="a folder; allowed for glue and valid: a file"),
        ):
            ogpt.predict(result.out, tmp_path / "data", split="valid", out=official, format="glue")
