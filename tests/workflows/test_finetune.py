"""`ogpt.finetune` from files to a model folder: learning, resuming, transferring, refusing."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import ogpt
from ogpt.errors import (
    ConfigError,
    DataError,
    OutputExists,
    StorageError,
    TrainingInterrupted,
    VocabularyMismatch,
)
from ogpt.folders.model_folder import ModelFolder
from ogpt.folders.run_folder import RunFolder
from ogpt.notices import collecting
from ogpt.tasks.task_spec import task_of
from tests.workflows.finetuning import FAST, base_model, polarity, task_files, write


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return base_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return task_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def tuned(base, files, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "run"
    result = ogpt.finetune(
        model=base,
        out=out,
        family="classification",
        **files,
        overrides=[*FAST, "finetune.epochs=5"],
    )
    return result


def test_a_task_is_learned(tuned):
    assert tuned.valid["accuracy"] > 0.9
    value, low, high = tuned.test["test"]["accuracy"]
    assert low <= value <= high
    assert value > 0.9
    facts = RunFolder.open(tuned.out).facts
    assert tuned.wall_s == facts["wall_s"] > 0
    # forward and backward of 960 examples: 6 operations a weight and token at least
    assert tuned.flops > 6 * 960 * 7 * 2 * 12 * 32 * 32
    assert facts["machine"]["device"] == "cpu"


def test_the_result_is_a_model_folder_with_its_task(tuned):
    folder = ModelFolder.open(tuned.out)
    assert folder.path.name == f"step-{tuned.best_step:08d}"
    assert folder.labels == ["bad film", "good film"]
    spec = task_of(folder.config, folder.path)
    assert (spec.family, spec.labels) == ("classification", ("bad film", "good film"))
    assert spec.columns == {"text": "text", "label": "label"}
    card = (folder.path / "README.md").read_text("utf-8")
    assert "| validation accuracy |" in card
    assert "| test accuracy |" in card


def test_pipelines_of_ogpt_and_transformers_agree_on_raw_text(tuned):
    texts = ["a good film", "the end with a bad story", "this"]
    folder = str(ModelFolder.open(tuned.out).path)
    ours = ogpt.pipeline("text-classification", folder)(texts, top_k=None)
    theirs = transformers.pipeline("text-classification", folder, device="cpu")
    for batch_size in (1, 3):
        expected = theirs(texts, top_k=None, batch_size=batch_size)
        for one, other in zip(ours, expected, strict=True):
            assert [row["label"] for row in one] == [row["label"] for row in other]
            assert [row["score"] for row in one] == pytest.approx(
                [row["score"] for row in other], rel=1e-4
            )
    assert [rows[0]["label"] for rows in ours[:2]] == ["good film", "bad film"]


def test_a_stopped_run_resumes_bit_for_bit(base, files, tmp_path):
    given = {"model": base, "family": "classification", **files}
    settings = [*FAST, "finetune.epochs=2"]
    whole = ogpt.finetune(**given, out=tmp_path / "whole", overrides=settings)

    def stop(kind, /, **fields):
        if kind == "eval" and fields["step"] == 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ogpt.finetune(**given, out=tmp_path / "cut", overrides=settings, reporter=stop)
    again = ogpt.finetune(**given, out=tmp_path / "cut", overrides=settings, resume=True)
    assert (again.steps, again.valid, again.test) == (whole.steps, whole.valid, whole.test)
    first, second = (ModelFolder.open(tmp_path / name).weights for name in ("whole", "cut"))
    assert set(first) == set(second)
    assert all(np.array_equal(first[name].data, second[name].data) for name in first)


def test_a_finished_run_is_not_trained_again(tuned, base, files):
    before = (tuned.out / "metrics.jsonl").read_bytes()
    found = ogpt.finetune(model=base, out=tuned.out, family="classification", **files, resume=True)
    assert found == tuned
    assert (tuned.out / "metrics.jsonl").read_bytes() == before


def weights_after(base, files, out, *overrides):
    ogpt.finetune(
        model=base,
        out=out,
        family="classification",
        train=files["train"],
        valid=files["valid"],
        overrides=[*FAST, "finetune.max_steps=1", "finetune.learning_rate=1e-9", *overrides],
    )
    return ModelFolder.open(out).weights


@pytest.mark.parametrize(
    ("n_transfer", "kept"), [(-1, ()), (0, ("tokens",)), (1, ("tokens", "h.0"))]
)
def test_only_the_transferred_layers_are_pretrained(n_transfer, kept, base, files, tmp_path):
    found = weights_after(base, files, tmp_path / "run", f"finetune.n_transfer={n_transfer}")
    before = ModelFolder.open(base).weights
    for part, name in (
        ("tokens", "tokens_embed.weight"),
        ("h.0", "h.0.mlp.c_fc.weight"),
        ("h.1", "h.1.mlp.c_fc.weight"),
    ):
        held = before[f"transformer.{name}"].data
        now = found[f"transformer.{name}"].data[: len(held)]
        assert np.allclose(now, held, atol=1e-6) == (part in kept)


def test_frozen_layers_do_not_move(base, files, tmp_path):
    found = weights_after(
        base, files, tmp_path / "run", "finetune.learning_rate=0.1", "finetune.frozen_layers=1"
    )
    before = ModelFolder.open(base).weights
    for layer, moved in ((0, False), (1, True)):
        name = f"transformer.h.{layer}.mlp.c_fc.weight"
        assert np.array_equal(found[name].data, before[name].data) != moved


def test_frozen_layers_beyond_the_model_are_refused(base, files, tmp_path):
    with pytest.raises(ConfigError, match="frozen_layers is 3; allowed: 0 to 2"):
        weights_after(base, files, tmp_path / "run", "finetune.frozen_layers=3")
    assert not RunFolder.is_run(tmp_path / "run")  # the corrected command starts it


@pytest.mark.parametrize(
    ("family", "rows"),
    [
        (
            "entailment",
            [{"premise": "a film", "hypothesis": f"{w} end", "label": w} for w in ("good", "bad")],
        ),
        (
            "similarity",
            [{"sentence1": "a film", "sentence2": "the end", "score": n} for n in (0.5, 4.0)],
        ),
        (
            "multiple-choice",
            [
                {"context": "a", "question": "film", "choices": ["good", "bad"], "label": 0},
                {"context": "a", "question": "film", "choices": ["bad", "end", "a"], "label": 2},
            ],
        ),
        (
            "classification",
            [{"text": "a film", "label": ["good", "long"]}, {"text": "a", "label": []}],
        ),
    ],
)
def test_every_family_trains_and_loads(family, rows, base, tmp_path):
    train, valid = (write(tmp_path / f"{name}.jsonl", rows * 4) for name in ("train", "valid"))
    with collecting() as notices:
        ogpt.finetune(
            model=base,
            out=tmp_path / "run",
            family=family,
            train=train,
            valid=valid,
            overrides=[*FAST, "finetune.max_steps=2"],
        )
    assert {notice.kind for notice in notices} >= {"rows-repeated", "rows-leaked"}
    folder = ModelFolder.open(tmp_path / "run")
    metrics = task_of(folder.config, folder.path).metrics
    assert (metrics == ("accuracy",)) == (family == "multiple-choice")
    kind = getattr(transformers, folder.architecture)
    theirs, info = kind.from_pretrained(folder.path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ours = getattr(ogpt, folder.architecture).from_pretrained(folder)
    ids = torch.tensor([folder.tokenizer.encode("a film", "the end")])
    with torch.no_grad():
        name = "mc_logits" if family == "multiple-choice" else "logits"
        shaped = ids[None] if family == "multiple-choice" else ids
        one, other = ours(shaped)[name], theirs(shaped)[name]
    assert torch.allclose(one, other, atol=1e-5)


def refused(error, match, tmp_path, base, **changes):
    rows = polarity(16, 0)
    given = {
        "family": "classification",
        "train": write(tmp_path / "t.jsonl", rows),
        "valid": write(tmp_path / "v.jsonl", rows[:4]),
    }
    with pytest.raises(error, match=match) as caught:
        ogpt.finetune(
            **{"model": base, "out": tmp_path / "out", "overrides": FAST, **given, **changes}
        )
    assert not RunFolder.is_run(tmp_path / "out")
    return caught.value.hint


def test_what_cannot_be_trained_is_refused_before_the_work(base, tmp_path):
    def rows(name, *made):
        return write(tmp_path / name, made)

    one_class = rows("one.jsonl", *({"text": "a", "label": "x"} for _ in range(9)))
    refused(DataError, "values of the label column: 1 .'x'.", tmp_path, base, train=one_class)
    odd = rows("odd.jsonl", {"text": "a", "label": "awful"})
    refused(DataError, r"odd.jsonl, line 1 is 'awful'; allowed: 'bad", tmp_path, base, valid=odd)
    bare = rows("bare.jsonl", {"text": "a", "rating": "good"})
    for split in ("train", "valid"):
        match = "bare.jsonl, line 1 has no column 'label' for the label; its columns are text, rati"
        hint = refused(DataError, match, tmp_path, base, **{split: bare})
        assert "--column label=NAME" in hint
    none = rows("none.jsonl", {"text": "a", "label": None})
    refused(DataError, "validation set 'valid' has no labels", tmp_path, base, valid=none)
    refused(DataError, "none.jsonl, line 1 has no label", tmp_path, base, train=none)
    few = rows("few.jsonl", {"text": "a", "label": "x"}, {"text": "a", "label": "y"})
    hint = refused(
        DataError, "2 training examples, fewer than a batch of 8", tmp_path, base, train=few
    )
    assert "finetune.batch_size" in hint
    refused(ConfigError, "recipe is '2019'; allowed: paper", tmp_path, base, recipe="2019")
    wide = tmp_path / "wide.csv"
    wide.write_text("text,label\na,x\n", "utf-16")
    assert "-f utf-16" in refused(DataError, "is binary", tmp_path, base, train=wide)
    skip = [*FAST, "finetune.on_too_long=skip"]
    long = rows("long.jsonl", *({"text": "a " * 99, "label": f"{n % 2}"} for n in range(9)))
    match = "all 9 examples of the training set are too long for a model of 32 positions"
    named = {"train": long, "valid": rows("0.jsonl", {"text": "a", "label": "0"})}
    with collecting():  # that they are left out
        refused(DataError, match, tmp_path, base, **named, overrides=skip)
    few = ({"text": "a " * (99 if n < 5 else 3), "label": f"{n % 2}"} for n in range(12))
    match = "there are 7 training examples that fit the model, fewer than a batch of 8"
    named = {"train": rows("few.jsonl", *few), "valid": named["valid"]}
    with collecting():
        hint = refused(DataError, match, tmp_path, base, **named, overrides=skip)
    assert "batch_size=1" in hint
    assert "--on-too-long truncate" in hint
    one = ({"text": "a " * (99 if n % 2 else 3), "label": f"{n % 2}"} for n in range(20))
    named["train"] = rows("one.jsonl", *one)
    with collecting():
        match = "all 10 training examples have the label .0.; allowed: 2 classes"
        refused(DataError, match, tmp_path, base, **named, overrides=skip)
    same = tmp_path / "t.jsonl"
    refused(ConfigError, "are the same file", tmp_path, base, valid=same)
    refused(ConfigError, "the data is incomplete", tmp_path, base, valid=None)
    refused(ConfigError, "family is 'poetry'", tmp_path, base, family="poetry")
    choice = {"choices": ["a", "b"], "label": 0}
    choices = rows("c.jsonl", *({**choice, "question": "a " * n} for n in range(9)))
    refused(
        ConfigError,
        "--problem is 'regression'; allowed for multiple-choice",
        tmp_path,
        base,
        family="multiple-choice",
        train=choices,
        valid=rows("d.jsonl", {**choice, "question": "b"}),
        problem="regression",
    )
    refused(
        ConfigError,
        "class_weights is true; allowed for .* of multiple-choice: false",
        tmp_path / "..",
        base,
        family="multiple-choice",
        train=choices,
        valid=rows("d.jsonl", {**choice, "question": "b"}),
        overrides=[*FAST, "finetune.class_weights=true"],
        out=tmp_path / "weights",
    )


def test_imbalance_is_reported_and_weights_help(base, tmp_path):
    rows = [{"text": "a good film", "label": "good"}] * 30 + [{"text": "a bad end", "label": "bad"}]
    train = write(tmp_path / "t.jsonl", rows)
    valid = write(tmp_path / "v.jsonl", rows[-2:])
    with collecting() as notices:
        ogpt.finetune(
            model=base,
            out=tmp_path / "run",
            family="classification",
            train=train,
            valid=valid,
            overrides=[*FAST, "finetune.max_steps=1", "finetune.class_weights=true"],
        )
    told = next(notice for notice in notices if notice.kind == "classes-imbalanced")
    assert "'good' has 30 training examples and 'bad' has 1" in told.message


def test_a_test_score_is_that_of_evaluate_in_bfloat16_too(base, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"sentence1": one["text"], "sentence2": other["text"], "score": float(rng.random())}
        for one, other in zip(polarity(40, 0), polarity(40, 1), strict=True)
    ]
    files = {name: write(tmp_path / f"{name}.jsonl", rows[:24]) for name in ("train", "valid")}
    test = write(tmp_path / "test.jsonl", rows[24:])
    with collecting():  # equal rows; bfloat16 may be slow here
        made = ogpt.finetune(
            model=base,
            out=tmp_path / "run",
            family="similarity",
            **files,
            test=test,
            overrides=[*FAST, "finetune.max_steps=2", "finetune.precision=bfloat16"],
        )
        found = ogpt.evaluate(made.out, test).scores
    for name, score in made.test["test"].items():
        assert score == pytest.approx(found[name], rel=1e-5)


def test_a_score_is_not_that_of_another_test_file(tuned, base, files, tmp_path):
    other = {"good film": "bad film", "bad film": "good film"}
    rows = [row | {"label": other[row["label"]]} for row in polarity(24, 2)]
    flipped = write(tmp_path / "flipped.jsonl", rows)
    given = {"model": base, "out": tuned.out, "family": "classification", "resume": True}
    with pytest.raises(VocabularyMismatch, match="was scored on another test set 'test'") as caught:
        ogpt.finetune(**given, **(files | {"test": flipped}))
    assert "ogpt evaluate" in caught.value.hint
    assert ogpt.finetune(**given, **files).test == tuned.test


def test_other_examples_are_not_resumed(base, files, tmp_path):
    given = {"model": base, "family": "classification", "overrides": [*FAST, "finetune.epochs=2"]}

    def stop(kind, /, **fields):
        if kind == "eval":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ogpt.finetune(
            **given, out=tmp_path, train=files["train"], valid=files["valid"], reporter=stop
        )
    with pytest.raises(VocabularyMismatch, match="was trained on other examples"):
        ogpt.finetune(**given, out=tmp_path, train=files["train"], valid=files["test"], resume=True)
    with pytest.raises(OutputExists):
        ogpt.finetune(**given, out=tmp_path, train=files["train"], valid=files["valid"])


def test_ctrl_c_saves_the_run(base, files, tmp_path):
    import os
    import signal

    def interrupt(kind, /, **fields):
        if kind == "train" and fields["step"] == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingInterrupted, match="stopped after step 10"):
        ogpt.finetune(
            model=base,
            out=tmp_path / "run",
            family="classification",
            train=files["train"],
            valid=files["valid"],
            overrides=FAST,
            reporter=interrupt,
        )
    assert RunFolder.open(tmp_path / "run").facts["last"] == "step-00000010"


def test_a_full_disk_at_the_end_is_named(base, files, tmp_path, monkeypatch):
    def full(*_args, **_named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ogpt.workflows.finetune._finish", full)
    with pytest.raises(StorageError, match="No space left on device"):
        ogpt.finetune(
            model=base,
            out=tmp_path / "run",
            family="classification",
            train=files["train"],
            valid=files["valid"],
            overrides=[*FAST, "finetune.max_steps=1"],
        )


@pytest.mark.parametrize("value", ["", 3])
def test_a_path_is_a_path(value, base, tmp_path):
    with pytest.raises(ConfigError, match=r"train is .*; allowed: a path, or None"):
        ogpt.finetune(model=base, out=tmp_path / "run", family="classification", train=value)
