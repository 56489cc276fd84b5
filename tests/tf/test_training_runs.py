"""`ogpt pretrain` and `ogpt finetune` with TensorFlow: the same runs as with PyTorch."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ogpt
from ogpt import notices
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.shards import Shards
from ogpt.errors import ConfigError
from ogpt.folders.model_folder import ModelFolder
from ogpt.folders.run_folder import RunFolder, read_events
from ogpt.training.tf_start import start_tf_language_model
from ogpt.workflows.pretrain import PretrainResult
from tests.cli.stand_ins import ok
from tests.model.small import small
from tests.training.corpus import write_text
from tests.workflows.finetuning import FAST, base_model, task_files

pytestmark = pytest.mark.slow

SETTINGS = [
    *("training.max_steps=20", "training.batch_size=4", "training.micro_batch_size=2"),
    *("training.warmup_steps=2", "training.eval_every=10", "training.checkpoint_every=10"),
    *("training.log_every=1", "training.compile=off", "training.precision=float32"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("base"), n_layer=1)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    write_text(file)
    return file


def pretrained(out: Path, base: Path, text: Path, *more: str, **options: Any) -> PretrainResult:
    with notices.collecting():  # characters that the tokenizer lacks
        return ogpt.pretrain(data=text, init=base, out=out, overrides=[*SETTINGS, *more], **options)


def losses(out: Path) -> list[float]:
    return [e["loss"] for e in read_events(out / "metrics.jsonl") if e["event"] == "train"]


@pytest.fixture(scope="module")
def runs(
    base: Path, text: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, PretrainResult]:
    """The same run with both; dropout is off in the model."""
    file = base / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "embd_pdrop": 0, "attn_pdrop": 0, "resid_pdrop": 0}))
    folder = tmp_path_factory.mktemp("runs")
    return {
        backend: pretrained(folder / backend, base, text, backend=backend)
        for backend in ("torch", "tensorflow")
    }


def test_the_first_20_losses_of_a_run_agree(runs: dict[str, PretrainResult]) -> None:
    expected, found = (losses(runs[name].out) for name in ("torch", "tensorflow"))
    assert len(found) == len(expected) == 20
    assert np.abs(np.subtract(found, expected)).max() < 1e-4
    assert runs["tensorflow"].valid.loss == pytest.approx(runs["torch"].valid.loss, abs=1e-4)


def test_a_run_leaves_what_pytorchs_leaves(runs: dict[str, PretrainResult]) -> None:
    files = [
        sorted(p.name for p in ModelFolder.open(runs[name].out).path.rglob("*")) for name in runs
    ]
    assert files[0] == files[1]
    path = ModelFolder.open(runs["tensorflow"].out).path
    assert "tensorflow" in (path / "README.md").read_text()
    assert json.loads((path / "config.json").read_text())["architectures"] == [
        "OpenAIGPTLMHeadModel"
    ]
    assert ogpt.OpenAIGPTLMHeadModel.from_pretrained(path).num_parameters() > 0


@pytest.mark.parametrize(("first", "second"), [("torch", "tensorflow"), ("tensorflow", "torch")])
def test_a_run_resumes_with_the_other_framework(
    first: str,
    second: str,
    runs: dict[str, PretrainResult],
    base: Path,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ogpt.errors import TrainingInterrupted
    from ogpt.training.loop import Loop

    whole = Loop._stop_if_requested

    def stop(self: Loop, event: Any) -> None:
        if self.step == 10:
            event.set()
        whole(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_stop_if_requested", stop)
        with pytest.raises(TrainingInterrupted):
            pretrained(tmp_path / "run", base, text, backend=first)
    pretrained(tmp_path / "run", base, text, backend=second, resume=True)
    expected = losses(runs["torch"].out)
    assert np.abs(np.subtract(losses(tmp_path / "run"), expected)).max() < 1e-4


def test_a_new_model_of_a_preset_with_the_options_of_run_clm(text: Path, tmp_path: Path) -> None:
    """One option of each kind that the guide maps, by what it changes."""
    settings = [
        *("model.n_layer=1", "model.n_head=2", "model.n_embd=32"),  # --config_overrides
        "model.n_positions=16",  # --block_size
        *("tokenizer.vocab_size=300", "tokenizer.pre_tokenizer=bytes"),  # --use_fast_tokenizer
        "data.valid_fraction=0.3",  # --validation_split_percentage
        *("training.max_steps=3", "training.warmup_steps=1"),
        *("training.batch_size=4", "training.micro_batch_size=2"),  # gradient accumulation
        "training.precision=bfloat16",  # --fp16
        "training.compile=on",  # --xla
        "training.log_every=1",
    ]
    out = tmp_path / "run"
    sets = [word for setting in settings for word in ("--set", setting)]
    words = ("--backend", "tensorflow", "--preset", "tiny", "--data", str(text), "--out", str(out))
    result = ok("pretrain", *words, *sets)
    assert "compiling the training step with XLA" in result.stderr
    assert json.loads(ok("info", str(out), "--json").stdout)["settings"]["training"][
        "weight_decay"
    ] == pytest.approx(0.1)  # the preset's
    assert RunFolder.open(out).facts["finished"]
    events = [e for e in read_events(out / "metrics.jsonl") if e["event"] == "train"]
    assert [(e["step"], e["tokens"]) for e in events] == [(n, 4 * 16) for n in (1, 2, 3)]
    path = ModelFolder.open(out).path
    card = (path / "README.md").read_text("utf-8")
    assert "tensorflow" in card
    assert "bfloat16" in card
    config = ogpt.OpenAIGPTConfig.from_pretrained(path)
    assert (config.n_layer, config.n_positions, config.vocab_size) == (1, 16, 300)
    assert json.loads((path / "tokenizer_config.json").read_text())["pre_tokenizer"] == "bytes"
    shards = Shards.open(out / "shards")
    held_out = len(shards.valid) / (len(shards.valid) + len(shards.train))
    assert 0.15 < held_out < 0.45


def test_models_that_cannot_start_a_run(base: Path, text: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for file in base.iterdir():
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ogpt.errors.WeightsError):
        pretrained(tmp_path / "run", tmp_path / "model", text, backend="tensorflow")


@pytest.mark.parametrize("compile", ["on", "auto", "off"])
def test_a_compilation_announces_itself(compile: str) -> None:
    """As in generate(); `auto` compiles runs that are long enough."""
    config = small().config
    settings = TrainingSettings(precision="float32", compile=compile, micro_batch_size=2)
    for tokens in (100, 10**15):
        with notices.collecting() as told:
            step = start_tf_language_model(config, None, settings, tokens)
        compiled = compile == "on" or (compile == "auto" and tokens > 100)
        said = [one.message.partition(":")[0] for one in told]
        assert said == ["compiling the training step with XLA"] * compiled
        assert step.description["compile"] == ("XLA" if compiled else "off")


# fine-tuning


def tuned(out: Path, base: Path, files: dict[str, Path], *more: str, **options: Any) -> Any:
    named = {"family": "classification", **files, **options}
    overrides = [*FAST, "finetune.threads=0", "finetune.precision=float32", *more]
    return ogpt.finetune(model=base, out=out, overrides=overrides, **named)


def test_a_task_is_learned(tmp_path: Path) -> None:
    files, base = task_files(tmp_path), base_model(tmp_path / "base")  # one layer learns less
    found = tuned(tmp_path / "run", base, files, "finetune.epochs=5", backend="tensorflow")
    accuracy = found.test["test"]["accuracy"]
    assert accuracy.value > 0.9
    # PyTorch predicts with the checkpoint
    predictions = ogpt.predict(tmp_path / "run", files["test"], threads=1)
    rows = [json.loads(line) for line in files["test"].read_text("utf-8").splitlines()]
    right = [p.label == row["label"] for p, row in zip(predictions, rows, strict=True)]
    assert np.mean(right) == accuracy.value


@pytest.mark.parametrize("first", ["torch", "tensorflow"])
def test_a_fine_tuning_moves_at_a_checkpoint(first: str, base: Path, tmp_path: Path) -> None:
    """From one checkpoint both have the same losses, for 24 steps."""
    files = task_files(tmp_path)
    asked = [f"finetune.{one}" for one in ("epochs=2", "log_every=1", "classifier_dropout=0")]

    def stop(kind: str, /, **fields: Any) -> None:
        if kind == "checkpoint":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "torch", base, files, *asked, backend=first, reporter=stop)
    shutil.copytree(tmp_path / "torch", tmp_path / "tensorflow")
    found = []
    for backend in ("torch", "tensorflow"):
        tuned(tmp_path / backend, base, files, *asked, backend=backend, resume=True)
        assert RunFolder.open(tmp_path / backend).facts["machine"]["framework"].startswith(backend)
        found.append(losses(tmp_path / backend))
    assert [len(one) for one in found] == [48, 48]
    expected, mine = (one[24:] for one in found)
    assert np.abs(np.subtract(mine, expected)).max() < 1e-4
    # the planted fault: other batches
    assert np.abs(np.subtract(mine[1:], expected[:-1])).max() > 1e-3


def test_the_command_line_fine_tunes_with_tensorflow(base: Path, tmp_path: Path) -> None:
    files = [word for name, f in task_files(tmp_path).items() for word in (f"--{name}", str(f))]
    words = ("--model", str(base), "--out", str(tmp_path / "run"), "--family", "classification")
    sets = [*FAST, "finetune.threads=0", "finetune.precision=float32", "finetune.max_steps=2"]
    overrides = [word for setting in sets for word in ("--set", setting)]
    ok("finetune", "--backend", "tensorflow", *words, *files, *overrides)
    facts = RunFolder.open(tmp_path / "run").facts
    assert facts["machine"]["framework"].startswith("tensorflow")
    assert facts["steps"] == 2


def test_more_frozen_layers_than_there_are(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="frozen_layers is 9"):
        tuned(
            tmp_path / "run",
            base,
            task_files(tmp_path),
            "finetune.frozen_layers=9",
            backend="tensorflow",
        )


def test_a_plan_of_a_fine_tuning(base: Path, tmp_path: Path) -> None:
    found = ogpt.finetune_plan(
        model=base,
        out=tmp_path / "run",
        family="classification",
        **task_files(tmp_path),
        overrides=[*FAST, "finetune.threads=0", "finetune.precision=float32"],
        backend="tensorflow",
    )
    assert (found.train_examples, found.examples_per_step, found.missing) == (192, 8, ())
    assert (found.device, found.dtype, found.compile) == ("cpu", "float32", "off")
    assert found.eta_s > 0 < found.examples_per_s
    assert not (tmp_path / "run").exists()
