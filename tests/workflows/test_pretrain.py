import inspect
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ogpt
from ogpt import notices
from ogpt.data import sources, windows
from ogpt.data.shards import Shards
from ogpt.errors import (
    BackendMissing,
    CheckpointError,
    ConfigError,
    DataError,
    OutputExists,
    StorageError,
    StrictNotice,
    TrainingDiverged,
    VocabularyMismatch,
)
from ogpt.folders.model_card import write_card
from ogpt.folders.model_folder import ModelFolder
from ogpt.folders.run_folder import RunFolder
from ogpt.workflows.plan import plan
from ogpt.workflows.prepare import prepare
from ogpt.workflows.pretrain import PretrainResult, pretrain
from ogpt.workflows.train_tokenizer import train_tokenizer
from tests.training.corpus import write_text

TOY = {
    "model.n_layer": 1,
    "model.n_head": 2,
    "model.n_embd": 16,
    "model.n_positions": 16,
    "tokenizer.vocab_size": 200,
    "training.max_steps": 6,
    "training.batch_size": 4,
    "training.micro_batch_size": 2,
    "training.warmup_steps": 2,
    "training.eval_every": 3,
    "training.checkpoint_every": 2,
    "training.log_every": 1,
    "training.threads": 1,
    "training.compile": "off",
}


def settings(**changes: object) -> list[str]:
    """TOY with changes; None takes a setting out."""
    named = {**TOY, **{name.replace("__", "."): value for name, value in changes.items()}}
    if (steps := named["training.max_steps"]) in (1, 2):  # a warm-up does not outlast its run
        named["training.warmup_steps"] = int(str(steps)) - 1
    return [f"{name}={value}" for name, value in named.items() if value is not None]


def with_tokenizer(**changes: object) -> list[str]:
    """The settings of a run that learns no tokenizer."""
    return settings(tokenizer__vocab_size=None, **changes)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    write_text(file)
    return file


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> PretrainResult:
    out = tmp_path_factory.mktemp("run") / "run"
    return pretrain(data=[str(text)], out=out, overrides=settings())


def test_a_run_leaves_what_it_should(trained: PretrainResult) -> None:
    out = trained.out
    assert trained.steps == 6
    facts = json.loads((out / "run.json").read_text())
    assert facts["finished"] is True
    assert facts["valid"]["loss"] == trained.valid.loss
    kinds = [json.loads(line)["event"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert kinds.count("train") == 6
    assert kinds.count("eval") == 2
    assert list((out / "tensorboard").glob("events*"))
    folder = ModelFolder.open(out).path
    names = {file.name for file in folder.iterdir()}
    assert {"config.json", "model.safetensors", "vocab.json", "merges.txt", "README.md"} <= names
    card = (folder / "README.md").read_text()
    assert "text.jsonl" in card
    assert "4 windows of 16 tokens" in card
    last = (out / "checkpoints" / facts["last"] / "README.md").read_text()
    assert f"| validation perplexity | {trained.valid.perplexity:.4g} |" in last
    assert (folder / "resume" / "optimizer.safetensors").exists()


def test_every_checkpoint_loads_in_transformers(trained: PretrainResult) -> None:
    import transformers

    folder = ModelFolder.open(trained.out).path
    transformers.utils.logging.disable_progress_bar()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer, model = ogpt.load(trained.out)
    ids = tokenizer.encode("abc fed gab")
    assert their_tokenizer("abc fed gab")["input_ids"] == ids
    for tokenizer_folder in (trained.out / "tokenizer", folder):
        saved = json.loads((tokenizer_folder / "tokenizer_config.json").read_text("utf-8"))
        assert saved["model_max_length"] == model.config.n_positions
    given = torch.tensor([ids])
    torch.testing.assert_close(model(given).logits, theirs(given).logits, atol=1e-5, rtol=1e-5)


def test_the_evaluation_is_the_models_loss(trained: PretrainResult) -> None:
    _, model = ogpt.load(trained.out / "checkpoints" / "step-00000006")
    shards = ogpt.data.shards.Shards.open(trained.out / "shards")
    ids = torch.from_numpy(shards.valid[: len(shards.valid)].astype("int64"))
    total = 0.0
    model.requires_grad_(False)
    for start in range(0, len(ids) - 1, 16):
        part = ids[start : start + 17]
        total += float(model.token_loss(part[None, :-1], part[None, 1:]))
    found = total / (len(ids) - 1)
    assert trained.valid.loss == pytest.approx(found, rel=1e-2)  # trained in bfloat16 where it can
    assert trained.valid.tokens == len(ids) - 1
    assert trained.valid.perplexity == pytest.approx(math.exp(trained.valid.loss))
    bits = trained.valid.loss * trained.valid.tokens / math.log(2)
    assert trained.valid.bits_per_byte == pytest.approx(bits / shards.valid.n_bytes)


def test_training_learns(text: Path, tmp_path: Path) -> None:
    overrides = settings(training__max_steps=60, training__learning_rate=1e-2)
    result = pretrain(data=[str(text)], out=tmp_path / "run", overrides=overrides)
    first, *_, last = (
        json.loads(line)
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        if '"train"' in line
    )
    assert last["loss"] < first["loss"] - 0.5
    assert result.valid.loss < first["loss"] - 0.5


def test_a_finished_run_resumed_changes_nothing(trained: PretrainResult, text: Path) -> None:
    before = (ModelFolder.open(trained.out).path / "model.safetensors").read_bytes()
    metrics = (trained.out / "metrics.jsonl").read_bytes()
    said: list[str] = []
    again = pretrain(
        data=[str(text)],
        out=trained.out,
        resume=True,
        reporter=lambda kind, **fields: said.append(str(fields.get("text"))),
    )
    assert f"the run in {trained.out} is finished" in said[-1]
    assert again == trained
    assert (trained.out / "metrics.jsonl").read_bytes() == metrics
    assert (ModelFolder.open(trained.out).path / "model.safetensors").read_bytes() == before


def test_resume_may_change_the_cadence_only(trained: PretrainResult, text: Path) -> None:
    overrides = settings(training__log_every=2, training__learning_rate=0.5)
    with pytest.raises(ConfigError, match=r"other settings: training\.learning_rate$") as caught:
        pretrain(data=[str(text)], out=trained.out, overrides=overrides, resume=True)
    assert "--init" in caught.value.hint
    pretrain(out=trained.out, overrides=settings(training__log_every=2), resume=True)


def test_another_run_is_not_overwritten(trained: PretrainResult, text: Path) -> None:
    with pytest.raises(OutputExists, match="already holds a run") as caught:
        pretrain(data=[str(text)], out=trained.out, overrides=settings())
    assert "--resume" in caught.value.hint


def test_a_folder_of_other_things(text: Path, tmp_path: Path) -> None:
    (tmp_path / "novel.txt").write_text("mine")
    with pytest.raises(OutputExists, match=r"novel\.txt"):
        pretrain(data=[str(text)], out=tmp_path, overrides=settings())
    assert [file.name for file in tmp_path.iterdir()] == ["novel.txt"]


def test_resume_on_other_text(trained: PretrainResult, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    rows = (json.dumps({"text": f"bad cab {'fed ' * number}"}) for number in range(60))
    other.write_text("\n".join(rows))
    shards = prepare([str(other)], trained.out / "tokenizer", tmp_path / "shards")
    with pytest.raises(VocabularyMismatch, match="trained on other shards") as caught:
        pretrain(data=[str(shards.folder)], out=trained.out, resume=True)
    assert "--data" in caught.value.hint


def test_going_on_from_a_model(trained: PretrainResult, text: Path, tmp_path: Path) -> None:
    overrides = settings(training__max_steps=1, training__learning_rate=1e-9, model__n_layer=7)
    with notices.collecting() as told:
        result = pretrain(
            data=[str(text)], init=trained.out, out=tmp_path / "more", overrides=overrides
        )
    effectless = [notice.fields["setting"] for notice in told]
    assert [name.partition("=")[0] for name in effectless] == [
        *(name for name in TOY if name.startswith("model.")),
        "tokenizer.vocab_size",
    ]
    assert "the shape is that of the model in" in told[0].message
    assert (
        ogpt.folders.model_folder.ModelFolder.open(result.out).config.n_layer == 1
    )  # the model's shape wins
    assert result.valid.loss == pytest.approx(trained.valid.loss, rel=1e-3)


def test_a_run_from_a_model_resumes_by_itself(
    trained: PretrainResult, text: Path, tmp_path: Path
) -> None:
    out = tmp_path / "more"
    with notices.collecting():
        pretrain(data=[str(text)], init=trained.out, out=out, overrides=settings())
    facts = json.loads((out / "run.json").read_text())
    assert Path(facts["init"]) == ModelFolder.open(trained.out).path
    again = pretrain(out=out, resume=True)
    assert again.valid.loss == facts["valid"]["loss"]


def test_a_run_resumes_without_the_model_it_started_from(
    trained: PretrainResult, text: Path, tmp_path: Path
) -> None:
    base, out = tmp_path / "base", tmp_path / "more"
    shutil.copytree(ModelFolder.open(trained.out).path, base)
    with notices.collecting():
        pretrain(data=[str(text)], init=base, out=out, overrides=settings())
    facts = json.loads((out / "run.json").read_text())
    facts["finished"] = False
    (out / "run.json").write_text(json.dumps(facts))
    shutil.rmtree(base)
    assert pretrain(out=out, resume=True).valid.loss == facts["valid"]["loss"]


def test_held_out_text_too_short_to_score(
    trained: PretrainResult, text: Path, tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("a")
    arguments = {"tokenizer": trained.out / "tokenizer", "valid": [str(tmp_path / "one.txt")]}
    with pytest.raises(DataError, match="validation text has 1 tokens") as caught:
        pretrain(data=[str(text)], out=tmp_path / "run", overrides=with_tokenizer(), **arguments)
    assert "--valid" in caught.value.hint
    assert not RunFolder.is_run(tmp_path / "run")


def test_shards_among_other_sources(trained: PretrainResult, text: Path, tmp_path: Path) -> None:
    data = [str(text), str(trained.out / "shards")]
    with pytest.raises(ConfigError, match="shards is a folder of shards and was passed") as caught:
        pretrain(data=data, out=tmp_path / "run", overrides=settings())
    assert "alone" in caught.value.hint


def test_altered_shards(trained: PretrainResult, tmp_path: Path) -> None:
    from ogpt.errors import DamagedData

    shards = tmp_path / "shards"
    shutil.copytree(trained.out / "shards", shards)
    file = shards / "train-00000.bin"
    file.write_bytes(bytes(200) + file.read_bytes()[200:])
    with pytest.raises(DamagedData, match=r"train-00000\.bin"):
        pretrain(data=[str(shards)], out=tmp_path / "run", overrides=with_tokenizer())


def test_shards_with_another_tokenizer_inside(
    trained: PretrainResult, text: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(trained.out / "shards", shards)
    shutil.rmtree(shards / "tokenizer")
    train_tokenizer([str(text)], 150, shards / "tokenizer")
    with pytest.raises(VocabularyMismatch, match="its shards were made with another tokenizer"):
        pretrain(data=[str(shards)], out=tmp_path / "run", overrides=with_tokenizer())


def test_shards_and_packed_windows(trained: PretrainResult, tmp_path: Path) -> None:
    overrides = with_tokenizer(data__windows="packed")
    shards = str(trained.out / "shards")
    result = pretrain(data=[shards], out=tmp_path / "packed", overrides=overrides)
    assert result.steps == 6


def test_windows_are_packed_once(
    trained: PretrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[int] = []
    pack = windows.pack

    def counting(starts: Any, n_tokens: int, n_ctx: int) -> Any:
        packed.append(n_tokens)
        return pack(starts, n_tokens, n_ctx)

    monkeypatch.setattr(windows, "pack", counting)
    shards = Shards.open(trained.out / "shards")
    overrides = with_tokenizer(data__windows="packed", training__eval_every=1)
    pretrain(data=[str(shards.folder)], out=tmp_path / "run", overrides=overrides)
    assert sorted(packed) == sorted([len(shards.train), len(shards.valid)])


def test_text_is_opened_and_hashed_once(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid = tmp_path / "valid.jsonl"
    valid.write_text(json.dumps({"text": "bad cab fed a hag"}))
    opened: list[str] = []
    hashed: list[Path] = []
    open_spec, sha256_of = sources._open_spec, sources.sha256_of

    def count_opened(spec: str, *rest: Any) -> Any:
        opened.append(spec)
        return open_spec(spec, *rest)

    def count_hashed(file: Path) -> str:
        hashed.append(file)
        return sha256_of(file)

    monkeypatch.setattr(sources, "_open_spec", count_opened)
    monkeypatch.setattr(sources, "sha256_of", count_hashed)
    overrides = settings(training__max_steps=1)
    out = pretrain(data=[str(text)], valid=[str(valid)], out=tmp_path / "run", overrides=overrides)
    assert opened == [str(text), str(valid)]
    assert sorted(hashed) == sorted([text, valid])
    assert (out.out / "tokenizer").is_dir()  # a tokenizer was trained of the same sources


def test_the_plan_is_reported_first(text: Path, tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    overrides = settings(training__max_steps=2)
    pretrain(
        data=[str(text)],
        out=tmp_path / "run",
        overrides=overrides,
        reporter=lambda kind, **fields: events.append((kind, fields)),
    )
    kinds = [kind for kind, _ in events]
    assert kinds.count("plan") == 1
    assert kinds.index("plan") < kinds.index("train")
    plan_fields = events[kinds.index("plan")][1]
    assert plan_fields["total_steps"] == 2
    assert plan_fields["tokens_per_step"] == 4 * 16
    assert {fields["task"] for kind, fields in events if kind in ("train", "eval", "plan")} == {
        "pretraining"
    }


def test_plan_takes_the_arguments_of_pretrain() -> None:
    arguments = inspect.signature(pretrain, eval_str=True).parameters
    assert inspect.signature(plan).parameters == arguments
    assert inspect.signature(plan).return_annotation == "Plan"


def test_another_tokenizer_than_the_shards(
    trained: PretrainResult, text: Path, tmp_path: Path
) -> None:
    train_tokenizer([str(text)], 150, tmp_path / "small")
    with pytest.raises(VocabularyMismatch, match="another tokenizer") as caught:
        pretrain(
            data=[str(trained.out / "shards")], tokenizer=tmp_path / "small", out=tmp_path / "a"
        )
    assert "prepare the text again" in caught.value.hint
    with pytest.raises(VocabularyMismatch, match=r"the model in .* was trained with another"):
        pretrain(
            data=[str(text)], tokenizer=tmp_path / "small", init=trained.out, out=tmp_path / "a"
        )
    assert not (tmp_path / "a").exists()


def test_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no text was passed") as caught:
        pretrain(out=tmp_path / "run", overrides=settings())
    assert "builtin:python-docs" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_too_little_text(text: Path, tmp_path: Path) -> None:
    overrides = settings(model__n_positions=100_000)
    with pytest.raises(DataError, match="one window needs"):
        pretrain(data=[str(text)], out=tmp_path / "run", overrides=overrides)


def test_divergence_names_step_rate_and_checkpoint(text: Path, tmp_path: Path) -> None:
    overrides = settings(training__learning_rate=1e30, training__checkpoint_every=1)
    with pytest.raises(TrainingDiverged, match=r"step \d+.* rate .*no checkpoint yet") as caught:
        pretrain(data=[str(text)], out=tmp_path / "run", overrides=overrides)
    assert "warmup_steps" in caught.value.hint
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_full_disk_while_training(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, *facts: object, **more: object) -> None:
        if folder.name.startswith(".step-00000006"):
            raise OSError(28, "No space left on device")
        write_card(folder, *facts, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("ogpt.workflows.pretrain.write_card", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        pretrain(data=[str(text)], out=tmp_path / "run", overrides=settings())
    assert "free some space" in caught.value.hint
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["last"] == "step-00000004"
    assert ModelFolder.open(tmp_path / "run").path.exists()


@pytest.mark.parametrize("where", ["ogpt.reporting.JsonLines.__call__", "add_scalar"])
def test_metrics_that_cannot_be_written_do_not_end_a_run(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    pytest.importorskip("tensorboard")

    def full(*values: object, **fields: object) -> None:
        raise OSError(28, "No space left on device")

    name = where if "." in where else "torch.utils.tensorboard.SummaryWriter.add_scalar"
    monkeypatch.setattr(name, full)
    said: list[str] = []
    result = pretrain(
        data=[str(text)],
        out=tmp_path / "run",
        overrides=settings(),
        reporter=lambda kind, **fields: said.append(str(fields.get("text"))),
    )
    what = "metrics.jsonl" if "." in where else "TensorBoard"
    lost = f"{what} cannot be written, and the work continues: [Errno 28] No space left on device"
    assert said.count(lost) == 1
    assert RunFolder.open(result.out).facts["finished"]


def test_a_view_that_fails_does_not_end_a_run(text: Path, tmp_path: Path) -> None:
    def gone(kind: str, /, **fields: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    result = pretrain(data=[str(text)], out=tmp_path / "run", overrides=settings(), reporter=gone)
    assert RunFolder.open(result.out).facts["finished"]
    assert "progress cannot be written" in (result.out / "metrics.jsonl").read_text()


def test_without_torch(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendMissing, match="needs PyTorch") as caught:
        pretrain(data=[str(text)], out=tmp_path / "run", overrides=settings())
    assert caught.value.hint == "pip install 'ogpt[torch]'"


def test_plan_measures_and_trains_nothing(text: Path, tmp_path: Path) -> None:
    found = plan(data=[str(text)], out=tmp_path / "run", overrides=settings())
    assert found.total_steps == 6
    assert found.tokens_per_step == 64
    assert found.tokens_per_s > 0
    assert found.evaluations_s > 0
    assert found.probes_s == 0
    assert found.eta_s == pytest.approx(6 * 64 / found.tokens_per_s + found.evaluations_s)
    assert found.mfu > 0
    assert not (tmp_path / "run").exists()
    result = pretrain(data=[str(text)], out=tmp_path / "run", overrides=settings())
    assert result.steps == 6


def test_plan_leaves_nothing_behind(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for out in (tmp_path / "deep" / "run", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        plan(data=[str(text)], out=out, overrides=settings())
        assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_plan_uses_prepared_text_as_it_is(trained: PretrainResult, tmp_path: Path) -> None:
    run = shutil.copytree(trained.out, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert plan(out=run, resume=True).total_steps == 6
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


def test_paths_are_str_or_path_and_one_item_is_a_list(text: Path, tmp_path: Path) -> None:
    config, valid = tmp_path / "tiny.toml", tmp_path / "valid.txt"
    valid.write_text("The cat sat on the mat, and the dog looked at the old man. " * 3)
    values = [override.split("=", 1) for override in settings()]
    sections: dict[str, list[str]] = {}
    for name, value in values:
        section, item = name.split(".")
        quoted = value if value.replace(".", "").isdigit() else json.dumps(value)
        sections.setdefault(section, []).append(f"{item} = {quoted}")
    config.write_text("".join(f"[{n}]\n" + "\n".join(v) + "\n" for n, v in sections.items()))
    for kind in (str, Path):
        out = tmp_path / f"run-{kind.__name__}"
        given: dict[str, Any] = {"data": kind(text), "valid": kind(valid), "config": kind(config)}
        with notices.collecting():  # the validation text has words that the vocabulary lacks
            done = pretrain(**given, out=kind(out), overrides="training.max_steps=4")
            assert done.steps == 4
            assert done.out == out
            given["tokenizer"], given["init"] = kind(out / "tokenizer"), kind(out)
            planned = plan(**given, out=kind(tmp_path / "b"), overrides="training.max_steps=3")
        assert planned.epochs > 0


def test_a_warm_up_that_outlasts_the_run(text: Path, tmp_path: Path) -> None:
    for changed in (
        {"training__max_steps": 5},
        {"training__max_steps": 0, "training__epochs": 0.01},
    ):
        overrides = settings(training__warmup_steps=500, **changed)
        with notices.collecting() as told:
            found = plan(data=[str(text)], out=tmp_path / "run", overrides=overrides)
        (notice,) = told
        assert notice.message == (
            f"the warm-up of 500 steps outlasts the run of {found.total_steps}: warming up for "
            f"{found.total_steps // 10} steps instead, so that the learning rate still falls to 0"
        )


@pytest.mark.parametrize("wrong", ["torch", "weights", "tokenizer"])
def test_what_can_be_wrong_is_found_before_the_text_is_read(
    trained: PretrainResult,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    init = shutil.copytree(ModelFolder.open(trained.out).path, tmp_path / "model")
    if wrong == "torch":
        monkeypatch.setitem(sys.modules, "torch", None)
    elif wrong == "weights":
        (init / "model.safetensors").write_bytes(b"\x00")
    else:
        config = json.loads((init / "config.json").read_text())
        (init / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))

    def opened(*sources: object, **options: object) -> None:
        pytest.fail("the text was read first")

    monkeypatch.setattr("ogpt.workflows.pretrain_setup.open_sources", opened)
    error = {"torch": BackendMissing, "weights": ogpt.errors.WeightsError}
    with pytest.raises(error.get(wrong, VocabularyMismatch)):
        pretrain(data=[str(text)], init=init, out=tmp_path / "run", overrides=settings())


def test_resuming_needs_no_model_that_it_started_from(
    trained: PretrainResult, text: Path, tmp_path: Path
) -> None:
    init = shutil.copytree(ModelFolder.open(trained.out).path, tmp_path / "model")
    out = tmp_path / "run"
    with notices.collecting():
        pretrain(data=[str(text)], init=init, out=out, overrides=settings())
    facts = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**facts, "finished": False}))
    shutil.rmtree(init)
    assert pretrain(out=out, resume=True).steps == 6


def test_settings_are_saved_and_read_back(trained: PretrainResult) -> None:
    from ogpt.config.loader import load_settings

    assert load_settings(file=trained.out / "config.toml") == load_settings(overrides=settings())


def test_no_notices_on_a_plain_run(text: Path, tmp_path: Path) -> None:
    with notices.collecting() as told:
        pretrain(data=[str(text)], out=tmp_path / "run", overrides=settings())
    assert told == []


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_damaged_checkpoint_is_named(trained: PretrainResult, tmp_path: Path, file: str) -> None:
    copy = tmp_path / "model"
    shutil.copytree(ModelFolder.open(trained.out).path, copy)
    (copy / file).write_bytes(b"\x00")
    with pytest.raises((CheckpointError, ogpt.errors.WeightsError), match=f"{file} is damaged"):
        ogpt.load(copy)


def test_a_run_that_is_not_there_is_begun_with_a_notice(text: Path, tmp_path: Path) -> None:
    overrides = settings(training__max_steps=1)
    with notices.collecting() as told:
        pretrain(data=[str(text)], out=tmp_path / "misspelt", overrides=overrides, resume=True)
    assert [notice.message for notice in told] == [
        f"no run to resume in {tmp_path / 'misspelt'}: starting a new one"
    ]


def test_a_folder_of_text_with_a_foreign_manifest(
    trained: PretrainResult, text: Path, tmp_path: Path
) -> None:
    data = tmp_path / "site"
    data.mkdir()
    shutil.copy(text, data)
    (data / "manifest.json").write_text('{"name": "an app", "start_url": "/"}')
    tokenizer = trained.out / "tokenizer"
    changes = with_tokenizer(training__max_steps=1)
    with notices.collecting() as told:
        pretrain(data=[str(data)], tokenizer=tokenizer, out=tmp_path / "run", overrides=changes)
    assert [notice.kind for notice in told if "files of" in notice.message] == ["documents-skipped"]


def test_a_grown_model_trains_on_the_shards_from_before(
    trained: PretrainResult, tmp_path: Path
) -> None:
    tokenizer, model = ogpt.load(trained.out)
    before = tokenizer.fingerprint
    ogpt.add_pad_token(tokenizer, model)
    for each in (tokenizer, model):
        each.save_pretrained(tmp_path / "grown")
    shards, run = str(trained.out / "shards"), tmp_path / "run"
    changes = settings(
        **{f"model__{name}": None for name in ("n_layer", "n_head", "n_embd", "n_positions")},
        tokenizer__vocab_size=None,
        training__max_steps=2,
    )
    with notices.collecting() as told:
        pretrain(data=[shards], init=tmp_path / "grown", out=run, overrides=changes)
    grown = [notice for notice in told if notice.kind == "shards-before-growth"]
    assert [notice.fields["tokens"] for notice in grown] == ["'<pad>'"]
    kept, made = ogpt.load(run)
    assert kept.fingerprint == made.config.tokenizer_fingerprint == tokenizer.fingerprint != before
    assert (kept.pad_token, made.config.vocab_size) == ("<pad>", len(tokenizer))
    with notices.collecting():
        assert pretrain(data=[shards], out=run, resume=True).steps == 2
    with notices.listening(notices.refuse), pytest.raises(StrictNotice, match="before tokens were"):
        pretrain(data=[shards], init=tmp_path / "grown", out=tmp_path / "b", overrides=changes)
    # without the model that has rows for the new tokens, the tokenizer is another one
    with pytest.raises(VocabularyMismatch, match="another tokenizer"):
        pretrain(data=[shards], tokenizer=tmp_path / "grown", out=tmp_path / "c")


def test_settings_that_shards_make_pointless(trained: PretrainResult, tmp_path: Path) -> None:
    overrides = settings(training__max_steps=1, data__valid_fraction=0.5, data__encoding="latin-1")
    with notices.collecting() as told:
        pretrain(data=[str(trained.out / "shards")], out=tmp_path / "run", overrides=overrides)
    assert {notice.kind for notice in told} == {"setting-without-effect"}
    assert [notice.fields["setting"] for notice in told] == [
        "tokenizer.vocab_size=200",
        "data.valid_fraction=0.5",
        "data.encoding=latin-1",
    ]


def test_the_model_remembers_its_tokenizer(
    trained: PretrainResult, text: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(ModelFolder.open(trained.out).path, tmp_path / "model")
    assert ModelFolder.open(copy).config.tokenizer_fingerprint == (
        ModelFolder.open(copy).tokenizer.fingerprint
    )
    vocab = json.loads((copy / "vocab.json").read_text())
    first, second = list(vocab)[1:3]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (copy / "vocab.json").write_text(json.dumps(vocab))
    (copy / "tokenizer.json").unlink()
    with pytest.raises(VocabularyMismatch, match="trained with another tokenizer"):
        ogpt.load(copy)
    with pytest.raises(VocabularyMismatch, match="trained with another tokenizer"):
        pretrain(data=[str(text)], init=copy, out=tmp_path / "run")


def test_two_processes_never_write_into_one_run(text: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    out = tmp_path / "run"
    out.mkdir()
    with (
        FileLock(out / ".lock"),
        pytest.raises(OutputExists, match="another process is writing into") as caught,
    ):
        pretrain(data=[str(text)], out=out, overrides=settings())
    assert "another --out" in caught.value.hint
    assert [file.name for file in out.iterdir()] == [".lock"]
    pretrain(data=[str(text)], out=out, overrides=settings(training__max_steps=1))
    assert not (out / ".lock").exists()


def test_resume_on_the_same_number_of_other_tokens(trained: PretrainResult, tmp_path: Path) -> None:
    run = shutil.copytree(trained.out, tmp_path / "run")
    shards = Shards.open(run / "shards")
    facts = json.loads((run / "run.json").read_text())
    assert facts["data"]["shards"] == shards.manifest.content_sha256
    facts["data"]["shards"] = "0" * 64
    (run / "run.json").write_text(json.dumps(facts))
    with pytest.raises(VocabularyMismatch, match="trained on other shards"):
        pretrain(out=run, resume=True)
    del facts["data"]["shards"]  # a run of an earlier version
    (run / "run.json").write_text(json.dumps(facts))
    assert pretrain(out=run, resume=True).steps == trained.steps


def test_without_tensorboard_it_says_so(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ogpt.training.tensorboard.available", lambda: False)
    said: list[str] = []
    pretrain(
        data=[str(text)],
        out=tmp_path / "run",
        overrides=settings(training__max_steps=1),
        reporter=lambda kind, **fields: said.append(str(fields.get("text"))),
    )
    assert any("TensorBoard, which is not installed" in line for line in said)
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_run_in_the_2018_order(tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    rows = [
        json.dumps({"text": f"Mr. Smith {n} doesn't.\nHe's {n % 7} — o'clock."}) for n in range(150)
    ]
    text.write_text("\n".join(rows) + "\n", "utf-8")
    overrides = settings(
        tokenizer__pre_tokenizer="openai", tokenizer__vocab_size=70, training__max_steps=2
    )
    out = pretrain(data=[str(text)], out=tmp_path / "run", overrides=overrides).out
    tokenizer = ModelFolder.open(out).tokenizer
    assert tokenizer.pre_tokenizer == "openai"
    assert "n't</w>" in tokenizer.tokenize("doesn't")
    assert ogpt.generate(out, "Mr. Smith", max_new_tokens=3)[0].text
    assert ogpt.evaluate(out, [str(text)]).unknown_tokens == 0
    assert ogpt.info(out)["tokenizer"]["pre_tokenizer"] == "openai"
