"""`ogpt pretrain` and `ogpt finetune` with TensorFlow: the same runs as with PyTorch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ogpt
from ogpt import notices
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.errors import ConfigError
from ogpt.folders.model_folder import ModelFolder
from ogpt.folders.run_folder import read_events
from ogpt.training.tf_start import start_tf_language_model
from ogpt.workflows.pretrain import PretrainResult
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


def test_a_run_resumes_with_the_other_framework(
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
            pretrained(tmp_path / "run", base, text)
    pretrained(tmp_path / "run", base, text, backend="tensorflow", resume=True)
    expected = losses(runs["torch"].out)
    assert np.abs(np.subtract(losses(tmp_path / "run"), expected)).max() < 1e-4


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
