"""`ogpt.reproduce` over made-up data sets in the layouts of their owners."""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

import ogpt
from ogpt.errors import ConfigError, DamagedData, OutputExists, SourceNotFound
from ogpt.evaluation.paper_results import PaperScore, Reproduction
from ogpt.folders.model_folder import ModelFolder
from ogpt.folders.run_folder import RunFolder
from ogpt.notices import collecting
from tests.tasks.official_files import LAYOUTS, table, write_files
from tests.tasks.small import tokenizer
from tests.workflows.finetuning import base_model

SETTINGS = (
    "finetune.batch_size=2",
    "finetune.max_steps=1",
    "finetune.threads=1",
    "finetune.learning_rate=1e-2",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("base"))


def sets(folder: Path, *names: str) -> Path:
    """The preferred layout of these data sets; of CoLA both classes, for its correlation."""
    for name in names:
        write_files(folder, LAYOUTS[name, 0])
        if name == "cola":
            write_files(folder, {"CoLA/dev.tsv": table("gj04|1||She goes.", "gj04|0|*|Him go.")})
    return folder


def made(table: str, **arguments: Any) -> Reproduction:
    with collecting():  # the files are shorter than the published ones
        return ogpt.reproduce(table, **{"overrides": SETTINGS, **arguments})


def score(found: Reproduction, variant: str, column: str) -> PaperScore:
    (one,) = (one for one in found.scores if (one.variant, one.column) == (variant, column))
    return one


@pytest.fixture(scope="module")
def table_5(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reproduction]:
    data = sets(tmp_path_factory.mktemp("data"), "mnli")
    out = tmp_path_factory.mktemp("table") / "out"
    return data, made("table-5", data=data, model=base, out=out)


def test_every_variant_runs_on_the_sets_that_are_there(
    table_5: tuple[Path, Reproduction],
) -> None:
    _, found = table_5
    assert found.pending == 0
    assert [(one.variant, one.task) for one in found.runs] == [
        (variant, "MultiNLI") for variant in ("full", "no-pretraining", "no-auxiliary-lm")
    ]
    assert all(one.wall_s and one.flops and one.machine.startswith("cpu") for one in found.runs)
    assert [one.title for one in found.missing] == [
        *("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "QNLI", "RTE"),
    ]
    assert found.missing[-1].owner == "https://gluebenchmark.com/tasks"
    assert "--set model.network=lstm" in found.absent["lstm"]
    for column in ("SST-2", "RTE"):
        assert score(found, "full", column).ours is None
    assert score(found, "lstm", "CoLA") == PaperScore(
        variant="lstm", column="CoLA", metric="matthews", paper=30.3
    )


def test_variants_differ_in_what_they_are_named_for(table_5: tuple[Path, Reproduction]) -> None:
    _, found = table_5
    assert found.report is not None
    runs = found.report.parent / "runs"
    text = {
        name: (runs / name / "mnli" / "seed-0000" / "config.toml").read_text("utf-8")
        for name in ("full", "no-pretraining", "no-auxiliary-lm")
    }
    assert "n_transfer = -1" in text["no-pretraining"]
    assert "lm_coef = 0.5" in text["full"]
    assert "lm_coef = 0.0" in text["no-auxiliary-lm"]


def test_scores_are_those_of_the_runs(table_5: tuple[Path, Reproduction]) -> None:
    _, found = table_5
    assert found.report is not None
    run = RunFolder.open(found.report.parent / "runs/full/mnli/seed-0000")
    sets_of_mnli = run.facts["test"]
    # GLUE's test sets have no labels
    assert sorted(sets_of_mnli) == ["training sample", "valid/matched", "valid/mismatched"]
    valid = (sets_of_mnli[f"valid/{name}"] for name in ("matched", "mismatched"))
    mean = statistics.fmean(values["accuracy"][0] for values in valid)
    one = score(found, "full", "MNLI")
    assert (one.ours, one.paper, one.metric) == (100 * mean, 81.8, "accuracy")
    assert (one.scored_on, one.seeds, one.examples) == ("validation", 1, 2)
    assert one.low is not None
    average = score(found, "full", "average")
    assert (average.ours, average.paper) == (one.ours, 81.8)  # the paper's, of the same column
    assert score(found, "lstm", "average").paper == 69.1


def test_results_are_kept_as_data_page_and_submissions(
    table_5: tuple[Path, Reproduction],
) -> None:
    _, found = table_5
    assert found.report is not None
    out = found.report.parent
    stored = json.loads((out / "table-5.json").read_text("utf-8"))
    assert stored["scores"][0] == {**stored["scores"][0], "column": "average", "variant": "full"}
    page, text = ((out / name).read_text("utf-8") for name in ("report.html", "report.md"))
    for shown in (page, text):
        for words in ("Table 5: ablations", "RTE is missing", "--lstm", "45.4", "MultiNLI"):
            assert words in shown
    assert "](table-5.png)" in text
    assert (out / "table-5.png").read_bytes().startswith(b"\x89PNG")
    rows = (out / "submissions/MNLI-mm.tsv").read_text("utf-8").splitlines()
    assert rows[0] == "index\tprediction"
    assert rows[1].partition("\t")[2] in ("entailment", "neutral", "contradiction")
    assert sorted(path.name for path in (out / "submissions").iterdir()) == [
        "MNLI-m.tsv",
        "MNLI-mm.tsv",
    ]
    # a set that selects and is scored, as the page says, gives no notice of a leak
    assert any(note.startswith("MultiNLI: train of MultiNLI has 3 ex") for note in found.notes)
    assert not any("validation examples too" in note for note in found.notes)


def test_finished_runs_keep_the_weights_of_the_best_checkpoint(
    table_5: tuple[Path, Reproduction],
) -> None:
    _, found = table_5
    assert found.report is not None
    for run in (found.report.parent / "runs").glob("*/*/seed-*"):
        (checkpoint,) = (run / "checkpoints").iterdir()
        assert not (checkpoint / "resume").exists()
        assert ModelFolder.open(run).weights


def test_the_same_command_trains_nothing_again(
    table_5: tuple[Path, Reproduction], base: Path
) -> None:
    data, found = table_5
    assert found.report is not None
    before = {file: file.stat().st_mtime_ns for file in found.report.parent.glob("runs/**/*.json")}
    again = made("table-5", data=data, model=base, out=found.report.parent)
    assert again == found
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_tables_share_their_runs_and_their_page(
    table_5: tuple[Path, Reproduction], base: Path
) -> None:
    data, found = table_5
    assert found.report is not None
    out = found.report.parent
    file = out / "runs/full/mnli/seed-0000/metrics.jsonl"
    before = file.stat().st_mtime_ns
    other = made("table-2", data=data, model=base, out=out)
    assert file.stat().st_mtime_ns == before
    assert [one.column for one in other.scores if one.ours is not None] == ["MNLI-m", "MNLI-mm"]
    page = (out / "report.html").read_text("utf-8")
    assert page.index("Table 2: natural language") < page.index("Table 5: ablations")


def test_a_stopped_table_continues(base: Path, tmp_path: Path) -> None:
    data = sets(tmp_path / "data", "cola", "sst2")
    given = {"data": data, "model": base}
    whole = made("table-4", **given, out=tmp_path / "whole", seeds=2)

    def stop(kind: str, /, **fields: Any) -> None:
        if kind == "message" and fields["text"].startswith("seed-0001") and first.exists():
            raise KeyboardInterrupt

    out = tmp_path / "cut"
    first = out / "runs/full/cola/result.json"  # in the second set, after its first seed
    with pytest.raises(KeyboardInterrupt):
        made("table-4", **given, out=out, seeds=2, reporter=stop)
    kept = out / "runs/full/sst2/seed-0000/metrics.jsonl"
    before = [file.read_bytes() for file in (first, kept)]
    half = json.loads((out / "table-4.json").read_text("utf-8"))
    assert (half["pending"], len(half["runs"])) == (1, 1)
    assert "Done so far: 1 of 2. " in (out / "report.md").read_text("utf-8")
    again = made("table-4", **given, out=out, seeds=2)
    assert [file.read_bytes() for file in (first, kept)] == before
    assert again.scores == whole.scores
    assert again.pending == 0


def test_seeds_give_median_best_and_an_interval_of_the_mean(base: Path, tmp_path: Path) -> None:
    data, out = sets(tmp_path / "data", "snli"), tmp_path / "out"
    given = {"data": data, "model": base, "out": out}
    one = score(made("table-2", **given), "full", "SNLI")
    assert (one.scored_on, one.examples, one.seeds) == ("test", 3, 1)
    three = score(made("table-2", **given, seeds=3), "full", "SNLI")
    values = [
        100 * RunFolder.open(run).facts["test"]["test"]["accuracy"][0]
        for run in sorted((out / "runs/full/snli").glob("seed-*"))
    ]
    assert len(values) == three.seeds == 3
    assert values[0] == pytest.approx(one.ours, abs=0.01)
    assert three.ours == pytest.approx(statistics.fmean(values), abs=0.01)
    assert three.median == pytest.approx(statistics.median(values), abs=0.01)
    assert three.best == pytest.approx(max(values), abs=0.01)


def test_rocstories_runs_the_2018_code_from_its_seed(base: Path, tmp_path: Path) -> None:
    data, out = sets(tmp_path / "data", "story-cloze"), tmp_path / "out"
    found = made("rocstories", data=data, model=base, out=out, seeds=2)
    runs = sorted((out / "runs/2018-code/story-cloze").glob("seed-*"))
    assert [run.name for run in runs] == ["seed-0042", "seed-0043"]
    assert 'recipe = "2018-code"' in (runs[0] / "config.toml").read_text("utf-8")
    one = score(found, "2018-code", "Story Cloze")
    assert (one.paper, one.seeds, one.scored_on, one.examples) == (85.8, 2, "test", 10)


@pytest.fixture(scope="module")
def left(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    """Figure 2 of RACE alone, without the scores of a pre-training."""
    data = sets(tmp_path_factory.mktemp("data"), "race")
    out = tmp_path_factory.mktemp("figure") / "out"
    return made("figure-2", data=data, model=base, out=out)


def test_figure_2_transfers_each_number_of_layers(left: Reproduction) -> None:
    assert left.report is not None
    out = left.report.parent
    assert list(left.variants.values()) == ["0", "1", "2"]
    own = [one for one in left.scores if one.column == "RACE"]
    assert [one.variant for one in own] == ["transfer-00", "transfer-01", "full"]
    assert {one.scored_on for one in own} == {"validation"}  # as in the paper, with labels there
    assert (own[0].paper, own[-1].paper) == (40.0, None)  # of 2 blocks the end is another one
    assert "n_transfer = 1\n" in (
        (out / "runs/transfer-01/race/seed-0000/config.toml").read_text("utf-8")
    )
    assert (out / "figure-2-left.png").exists()
    assert any("are too long" in note for note in left.notes)


def test_figure_2_shows_the_score_on_training_examples(
    left: Reproduction, base: Path, tmp_path: Path
) -> None:
    assert left.report is not None
    out = left.report.parent
    kept = json.loads((out / "runs/full/race/result.json").read_text("utf-8"))
    assert kept["examples"]["training sample"] == 8  # all that there are
    score_of_run = kept["runs"][0]["training sample"][0]
    assert score(left, "full", "RACE").training == 100 * score_of_run
    assert "| training |" in (out / "report.md").read_text("utf-8")
    assert "2,000 training examples, chosen with the seed 0" in left.remark
    assert not any("training sample are" in note for note in left.notes)  # no leak


def test_an_undefined_score_is_no_number(base: Path, tmp_path: Path) -> None:
    data = sets(tmp_path / "data", "stsb")  # its validation set has one row
    found = made("table-4", data=data, model=base, out=tmp_path / "out")
    one = score(found, "full", "STS-B")
    assert (one.ours, one.low, one.seeds) == (None, None, 1)
    text = (tmp_path / "out/table-4.json").read_text("utf-8")
    assert not [word for word in json.loads(text).items() if word != word]
    assert "NaN" not in text


def test_a_plan(base: Path, tmp_path: Path) -> None:
    data, out = sets(tmp_path / "data", "cola"), tmp_path / "out"
    given = {"data": data, "model": base, "out": out, "overrides": SETTINGS}
    with collecting():
        plan = ogpt.reproduce_plan("table-5", **given, seeds=2)
    assert (plan.runs, plan.finished) == (6, 0)
    assert list(plan.cells) == [
        f"CoLA, {name}" for name in ("full", "no-pretraining", "no-auxiliary-lm")
    ]
    assert plan.cells["CoLA, full"].startswith("2 runs over 2 examples, about 0.")
    assert plan.missing["RTE"].startswith("https://gluebenchmark.com/tasks (terms: ")
    assert list(plan.absent) == ["lstm"]
    assert plan.eta_s > 0
    assert plan.flops > 0
    assert plan.disk_bytes > 6 * 4 * 30_000
    assert not out.exists()
    sets(tmp_path / "cloze", "story-cloze")
    with collecting():
        other = ogpt.reproduce_plan("rocstories", **{**given, "data": tmp_path / "cloze"})
    assert other.runs == 10


def test_a_plan_counts_what_is_left(table_5: tuple[Path, Reproduction], base: Path) -> None:
    data, found = table_5
    assert found.report is not None
    with collecting():
        plan = ogpt.reproduce_plan(
            "table-5", data=data, model=base, out=found.report.parent, overrides=SETTINGS
        )
    assert (plan.runs, plan.finished, plan.eta_s) == (0, 3, 0)


@pytest.mark.parametrize(
    ("table", "changes", "match"),
    [
        ("table-9", {}, "the table is 'table-9'; allowed: table-2"),
        ("table-2", {"data": None}, "there is no data for table-2"),
        ("table-2", {"data": ""}, "data is ''; allowed: a path"),
        ("table-2", {"seeds": 0}, "the number of seeds is 0; allowed: 1 or more"),
        ("table-2", {"run": "runs/x"}, "allowed with a run: figure-2"),
        ("table-2", {"overrides": "finetune.rate=1"}, "there is no setting 'finetune.rate'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    table: str, changes: dict[str, Any], match: str, base: Path, tmp_path: Path
) -> None:
    given = {"data": sets(tmp_path / "data", "rte"), "model": base, "out": tmp_path / "out"}
    with pytest.raises(ConfigError, match=match):
        made(table, **{**given, **changes})
    assert not (tmp_path / "out").exists()


def test_missing_data_is_named_with_owners_and_terms(base: Path, tmp_path: Path) -> None:
    given = {"model": base, "out": tmp_path / "out"}
    with pytest.raises(SourceNotFound, match="is not a folder"):
        made("table-3", **given, data=tmp_path / "none")
    with pytest.raises(SourceNotFound, match=r"is in .*: Story Cloze, RACE$") as caught:
        made("table-3", **given, data=sets(tmp_path / "data", "rte"))
    assert "https://www.cs.cmu.edu/~glai1/data/race/ (terms: on request" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_results_of_another_model_data_or_settings_are_not_mixed(
    base: Path, tmp_path: Path
) -> None:
    data, out = sets(tmp_path / "data", "rte"), tmp_path / "out"
    given = {"data": data, "model": base, "out": out}
    made("table-2", **given)
    with pytest.raises(ConfigError, match="rte holds results of other settings"):
        made("table-2", **given, overrides=[*SETTINGS, "finetune.lm_coef=0.1"])
    other = base_model(tmp_path / "other", n_embd=16)
    with pytest.raises(ConfigError, match="started from another model than"):
        made("table-2", **{**given, "model": other})
    train = data / "glue_data/RTE/train.tsv"
    train.write_text(train.read_text("utf-8") + "2\tSnow.\tWet.\tentailment\n", "utf-8")
    with pytest.raises(ConfigError, match="holds results of other examples"):
        made("table-2", **given)
    result = out / "runs/full/rte/result.json"
    result.write_text("{}", "utf-8")
    with pytest.raises(DamagedData, match=r"result.json is damaged: KeyError\('runs'\)"):
        made("table-2", **given)
    shutil.copy(out / "models.json", out / "table-3.json")
    result.unlink()  # the runs beside it are finished, and give it again
    train.write_text("".join(train.read_text("utf-8").splitlines(True)[:-1]), "utf-8")
    with pytest.raises(DamagedData, match="holds no results of ogpt reproduce"):
        made("table-2", **given)
    (out / "models.json").write_text("[", "utf-8")
    with pytest.raises(DamagedData, match="names the models of the runs beside it, is damaged"):
        made("table-2", **given)


def probe_run(folder: Path, scale: float, name: str = "sst2") -> Path:
    """A run with zero-shot scores at steps 10 and 20, the second one reported twice."""
    folder.mkdir()
    events = [
        {"event": "probe", "step": step, "name": name, "value": 0.5, "normalized": scale * step}
        for step in (10, 20, 20)
    ]
    text = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "metrics.jsonl").write_text(text, "utf-8")
    return folder


def test_figure_2_shows_the_scores_of_a_pre_training(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = {"out": out, "run": probe_run(tmp_path / "run", 0.01)}
    alone = ogpt.reproduce("figure-2", **given)
    (curve,) = alone.curves
    assert (curve.model, curve.name) == ("Transformer", "sst2")
    assert (curve.steps, curve.normalized) == ((10, 20), (0.1, 0.2))
    assert alone.scores == ()
    assert (out / "figure-2-right.png").exists()
    assert not (out / "figure-2-left.png").exists()
    page = (out / "report.md").read_text("utf-8")
    assert "| sentiment analysis | Transformer | 0.68 | 0.20 | 0.20 | 20 |" in page
    both = ogpt.reproduce("figure-2", **given, lstm=probe_run(tmp_path / "lstm", 0.005))
    assert [one.model for one in both.curves] == ["Transformer", "LSTM"]
    # with a folder that has none of the sets of its left panel, these are listed
    listed = made("figure-2", **given, data=sets(tmp_path / "data", "rte"), model=base)
    assert (listed.curves, listed.scores) == (both.curves[:1], ())
    assert [one.title for one in listed.missing] == ["MultiNLI", "RACE"]
    with pytest.raises(SourceNotFound, match=r"metrics.jsonl has no zero-shot scores") as caught:
        ogpt.reproduce("figure-2", out=out, run=tmp_path)
    assert "--probes" in caught.value.hint


def test_a_panel_of_figure_2_stays_when_the_other_is_made(
    left: Reproduction, tmp_path: Path
) -> None:
    assert left.report is not None
    out = tmp_path / "out"
    out.mkdir()
    for name in ("figure-2.json", "models.json"):
        shutil.copy(left.report.parent / name, out / name)
    right = ogpt.reproduce("figure-2", out=out, run=probe_run(tmp_path / "run", 0.01))
    assert (right.scores, right.notes) == (left.scores, left.notes)
    assert len(right.curves) == 1
    assert {file.name for file in out.glob("figure-2-*.png")} == {
        "figure-2-left.png",
        "figure-2-right.png",
    }


def test_an_lstm_that_nothing_shows_is_named(base: Path, tmp_path: Path) -> None:
    data = sets(tmp_path / "data", "rte")
    with collecting() as notices:
        ogpt.reproduce_plan(
            "table-2", data=data, model=base, out=tmp_path / "out", overrides=SETTINGS, lstm=base
        )
    assert any("--lstm has no effect: table-2 shows no LSTM" in one.message for one in notices)


def test_other_things_in_the_folder_are_left_alone(base: Path, tmp_path: Path) -> None:
    data = sets(tmp_path / "data", "rte")
    with pytest.raises(OutputExists, match="already exists and holds data"):
        made("table-2", data=data, model=base, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def lstm_model(folder: Path) -> Path:
    """A small LSTM with random weights and the vocabulary of `base_model`."""
    words = tokenizer()
    torch.manual_seed(0)
    config = ogpt.LSTMConfig(vocab_size=len(words), n_positions=32, n_embd=16, lstm_units=24)
    with collecting():  # that other libraries do not know it
        ogpt.OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def test_the_lstm_is_a_row_of_table_5(base: Path, tmp_path: Path) -> None:
    data, out = sets(tmp_path / "data", "rte"), tmp_path / "out"
    lstm = lstm_model(tmp_path / "lstm")
    given = {"data": data, "model": base, "out": out, "lstm": lstm}
    found = made("table-5", **given)
    assert found.absent == {}
    assert [one.variant for one in found.runs][-1] == "lstm"
    one = score(found, "lstm", "RTE")
    assert (one.paper, one.scored_on, one.examples) == (54.6, "validation", 1)
    assert one.ours is not None
    tuned = ModelFolder.open(out / "runs/lstm/rte/seed-0000")
    assert tuned.config.model_type == "ogpt-lstm"
    with pytest.raises(ConfigError, match=r"--lstm .* is a Transformer; allowed: an LSTM"):
        made("table-5", **{**given, "lstm": base})
    with pytest.raises(ConfigError, match=r"--model .* is an LSTM; allowed: a Transformer"):
        made("table-5", **{**given, "model": lstm})
