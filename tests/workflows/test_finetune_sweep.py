"""Several seeds and settings of one task, their choice and their cost."""

import json
import statistics

import pytest

import ogpt
from ogpt.cli.figures import sweep
from ogpt.errors import CheckpointError, ConfigError, OutputExists
from ogpt.folders.run_folder import RunFolder
from ogpt.notices import collecting
from tests.workflows.finetuning import FAST, base_model, task_files

SETTINGS = [*FAST, "finetune.max_steps=3"]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    base_model(folder / "base")
    return {
        "model": folder / "base",
        "family": "classification",
        "overrides": SETTINGS,
        **task_files(folder),
    }


def test_seeds(given, tmp_path):
    with collecting() as notices:
        made = ogpt.finetune_sweep(out=tmp_path / "out", seeds=3, **given)
    (point,) = made.points
    assert [run.name for run in point.runs] == ["seed-0000", "seed-0001", "seed-0002"]
    facts = [RunFolder.open(run).facts for run in point.runs]
    values = [one["valid"]["accuracy"] for one in facts]
    assert len({*(one["valid"]["macro_f1"] for one in facts)}) > 1  # the seed matters
    spread = point.valid["accuracy"]
    assert (spread.median, spread.best) == (statistics.median(values), max(values))
    assert spread.mean == pytest.approx(statistics.mean(values))
    assert spread.low <= spread.mean <= spread.high
    tests = [one["test"]["test"]["accuracy"][0] for one in facts]
    assert point.test["test"]["accuracy"].median == statistics.median(tests)
    assert made.best_run == point.runs[values.index(max(values))]
    # what is odd about the data is said once, not for each seed
    kinds = [notice.kind for notice in notices]
    assert len(kinds) == len(set(kinds))
    saved = json.loads((tmp_path / "out/sweep.json").read_text("utf-8"))
    assert saved["finished"]
    assert saved["points"][0]["runs"] == ["seed-0000", "seed-0001", "seed-0002"]
    assert saved["points"][0]["valid"]["accuracy"]["median"] == spread.median
    # the sweep stands for its best run
    texts = ["a good film", "a bad story"]
    assert ogpt.predict(tmp_path / "out", texts) == ogpt.predict(made.best_run, texts)
    found = ogpt.evaluate(tmp_path / "out", given["valid"])
    assert found.scores["accuracy"].value == pytest.approx(max(values))
    text = sweep(made)
    assert text.startswith("3 seeds\n")
    assert f"testaccuracy{spread_text(point.test['test']['accuracy'])}" in text.replace(" ", "")


def spread_text(one):
    return f"{one.median:.4f}{one.best:.4f}{one.mean:.4f}{one.low:.4f}to{one.high:.4f}"


def test_one_seed_is_the_run_with_that_seed(given, tmp_path):
    alone = ogpt.finetune(
        **{**given, "overrides": [*SETTINGS, "finetune.seed=7"]}, out=tmp_path / "alone"
    )
    made = ogpt.finetune_sweep(
        **{**given, "overrides": [*SETTINGS, "finetune.seed=6"]}, out=tmp_path / "out", seeds=2
    )
    assert [run.name for run in made.points[0].runs] == ["seed-0006", "seed-0007"]
    run = RunFolder.open(made.points[0].runs[1])
    assert run.facts["valid"] == alone.valid


def test_a_grid_is_chosen_by_validation_and_only_the_chosen_sees_the_test_set(given, tmp_path):
    grid = ["finetune.learning_rate=1e-9,3e-3", "finetune.batch_size=8,16"]
    overrides = [*FAST, "finetune.epochs=4"]
    out = tmp_path / "out"
    made = ogpt.finetune_sweep(**{**given, "overrides": overrides}, out=out, grid=grid)
    assert [dict(point.settings) for point in made.points] == [
        {"finetune.learning_rate": rate, "finetune.batch_size": size}
        for rate in ("1e-9", "3e-3")
        for size in ("8", "16")
    ]
    medians = [point.valid["accuracy"].median for point in made.points]
    assert made.chosen == medians.index(max(medians))
    assert made.chosen >= 2  # where something is learned
    for index, point in enumerate(made.points):
        facts = RunFolder.open(point.runs[0]).facts
        assert bool(facts["test"]) == bool(point.test) == (index == made.chosen)
    assert made.best_run.parent.name == "learning_rate=3e-3,batch_size=8" or made.chosen == 3
    card = next((made.best_run / "checkpoints").glob("*/README.md")).read_text("utf-8")
    assert "| test accuracy |" in card
    assert "* learning rate" not in sweep(made)
    assert f"* learning_rate 3e-3, batch_size {(8, 16)[made.chosen - 2]}, 1 seed" in sweep(made)


def test_a_stopped_sweep_continues(given, tmp_path):
    def stop(kind, /, **fields):
        if kind == "message" and "run 2 of 2" in fields["text"]:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        ogpt.finetune_sweep(**given, out=out, seeds=2, reporter=stop)
    before = (out / "seed-0000/metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="is not finished, so its best run is not") as caught:
        ogpt.predict(out, ["a film"])
    assert "--resume" in caught.value.hint
    with pytest.raises(OutputExists, match="already holds a sweep"):
        ogpt.finetune_sweep(**given, out=out, seeds=2)
    with pytest.raises(ConfigError, match=r"with other settings: finetune\.lm_coef"):
        ogpt.finetune_sweep(
            **{**given, "overrides": ["finetune.lm_coef=0"]}, out=out, seeds=2, resume=True
        )
    # it keeps its settings, and may get more seeds
    made = ogpt.finetune_sweep(**{**given, "overrides": ()}, out=out, seeds=3, resume=True)
    assert (out / "seed-0000/metrics.jsonl").read_bytes() == before
    whole = ogpt.finetune_sweep(**given, out=tmp_path / "whole", seeds=3)
    assert made.points[0].valid == whole.points[0].valid
    assert made.points[0].test == whole.points[0].test
    with pytest.raises(OutputExists, match="already holds a run"):
        ogpt.finetune_sweep(**given, out=made.points[0].runs[0], seeds=2, resume=True)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"seeds": 0}, "seeds is 0; allowed: 1 or more"),
        ({"grid": "finetune.learning_rate"}, "the grid is 'finetune.learning_rate'"),
        ({"grid": "finetune.seed=1,2"}, "the grid is 'finetune.seed=1,2'"),
        ({"grid": "finetune.batch_size=8,x"}, "batch_size is 'x'"),
        ({"grid": "finetune.rate=8,9"}, "there is no setting 'finetune.rate'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_run(changes, match, given, tmp_path):
    with pytest.raises(ConfigError, match=match):
        ogpt.finetune_sweep(**given, **changes, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_grid_of_the_paper_holds_its_values(given, tmp_path):
    plan = ogpt.finetune_plan(**given, out=tmp_path / "out", grid="paper", seeds=2)
    assert plan.runs == 12
    assert not (tmp_path / "out").exists()


def test_a_plan(given, tmp_path):
    overrides = [*FAST, "finetune.epochs=2", "finetune.micro_batch_size=4"]
    plan = ogpt.finetune_plan(**{**given, "overrides": overrides}, out=tmp_path / "out")
    assert (plan.train_examples, plan.valid_examples, plan.test_examples) == (192, 32, 24)
    assert (plan.examples_per_step, plan.total_steps, plan.runs) == (8, 48, 1)
    assert plan.missing == ()
    assert plan.tokens_per_example == pytest.approx(plan.longest_tokens, rel=0.5)
    assert plan.examples_per_s > 0
    assert plan.eta_s > 384 / plan.examples_per_s * 0.99
    assert not (tmp_path / "out").exists()
    without = ogpt.finetune_plan(**{**given, "test": None}, out=tmp_path / "out")
    assert without.missing == ("test",)


def test_plan_names_a_test_set_without_labels(given, tmp_path):
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"text": "a film"}\n{"text": ""}\n', "utf-8")  # neither scored nor read
    plan = ogpt.finetune_plan(**{**given, "test": bare}, out=tmp_path / "out")
    assert plan.missing == ("labels of test",)
    assert plan.test_examples == 0


def test_a_finished_run_is_scored_on_a_test_set_that_it_has_not_seen(given, tmp_path):
    out = tmp_path / "out"
    first = ogpt.finetune(**{**given, "test": None}, out=out)
    assert first.test == {}
    second = ogpt.finetune(**given, out=out, resume=True)
    whole = ogpt.finetune(**given, out=tmp_path / "whole")
    assert second.test == whole.test != {}
