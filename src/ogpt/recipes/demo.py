"""`ogpt demo`: train a small GPT on Python's documentation, and compare it with n-gram models.

It ends with a fine-tuning on a task, with and without that training.

Every stage leaves its result in the run folder, so a stopped demo resumes there.
"""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ogpt import processor
from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.data.shards import Shards
from ogpt.errors import CheckpointError, TrainingInterrupted
from ogpt.evaluation.drawing import require_matplotlib
from ogpt.evaluation.ngrams import ngram_losses
from ogpt.evaluation.task_scores import require_scikit_learn
from ogpt.folders.model_folder import ModelFolder
from ogpt.folders.run_folder import RunFolder
from ogpt.generation.protocol.perplexity import bits_per_byte, perplexity
from ogpt.recipes.package_task import TaskComparison, compare
from ogpt.recipes.report import ModelScore, Sample, Story, write_report
from ogpt.recipes.run_metrics import Metrics, read_metrics
from ogpt.reporting import Reporter, silent
from ogpt.serving.server_settings import ServerSettings
from ogpt.storage import path_of, write_json
from ogpt.weights.shapes import parameter_count
from ogpt.workflows.generate import generate
from ogpt.workflows.pretrain import pretrain

SOURCE = "builtin:python-docs"
PRESET = "tiny"
PROMPTS = ("The function returns", "Raise a ValueError if", "This module provides")
NEW_TOKENS = 80
TEMPERATURE = 0.8

NGRAMS_FILE = "ngrams.json"
SAMPLES_FILE = "samples.json"
FINETUNING = "finetuning"
"""Folder of the two fine-tunings."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Result of the demo."""

    out: Path
    scores: tuple[ModelScore, ...]
    """On the validation text: the GPT, then trigram, bigram and unigram model."""
    beats_ngrams: bool
    """Whether the GPT's loss is below that of all three."""
    verdict: str
    """The same, as a sentence."""
    samples: tuple[Sample, ...]
    task: TaskComparison
    """How well it learns a task, with and without pre-training."""
    report: Path
    command: str
    """A command that generates text with the model."""
    serve_command: str
    """A command that shows a page to write on with the model."""
    page_address: str
    """Where that page is while the command runs."""


def demo(
    out: Path = Path("runs/demo"), *, reporter: Reporter = silent, overrides: Sequence[str] = ()
) -> DemoResult:
    """Train a small GPT on Python's documentation, and fine-tune it; write it all to `out`.

    Args:
        out: Folder of the run: a new one, or that of a stopped demo.
        reporter: Receives all events (`ogpt.reporting`).
        overrides: `section.field=value`; overrides the preset.

    Raises:
        BackendMissing: PyTorch, matplotlib or scikit-learn is not installed.
        DataError: this Python's standard library has too few docstrings.
        OutputExists, CheckpointError, ConfigError: `out` holds something else, is damaged, or was
            started with other settings.
        TrainingInterrupted: Ctrl-C, after a checkpoint; the same call resumes.
    """
    out = path_of(out, "out")
    asked = [overrides] if isinstance(overrides, str) else overrides
    # the report needs them; better to fail now than after the training
    require_matplotlib()
    require_scikit_learn()
    with _resumable():
        pretrain(
            preset=PRESET,
            data=[SOURCE],
            out=out,
            # every evaluation is on all validation tokens, as that of the n-gram models is
            overrides=(*asked, "training.eval_windows=0"),
            resume=RunFolder.is_run(out),
            reporter=reporter,
        )
    shards = Shards.open(out / "shards")
    losses = _once(out / NGRAMS_FILE, lambda: _ngrams(shards, reporter))
    samples = _once(out / SAMPLES_FILE, lambda: _write(out, reporter))
    with _resumable():
        task = compare(out, out / FINETUNING, reporter)
    metrics = read_metrics(out)
    scores = tuple(
        _score(name, loss, int(losses["tokens"]), shards)
        for name, loss in (
            ("GPT", _loss_of_model(out, metrics)),
            *((name, losses[name]) for name in ("trigram", "bigram", "unigram")),
        )
    )
    won = scores[0].loss < min(score.loss for score in scores[1:])
    command = f'ogpt generate {shlex.quote(str(out))} "{PROMPTS[0]}"'
    serve_command = f"ogpt serve {shlex.quote(str(out))}"
    server = ServerSettings()
    page_address = f"http://{server.host}:{server.port}/"
    story = Story(
        title="A small GPT on Python's documentation",
        summary=_summary(out, shards, metrics),
        verdict=verdict(scores),
        won=won,
        commands=[command, serve_command],
        page_address=page_address,
        scores=scores,
        scores_note=(
            f"{losses['tokens']:,} tokens of {shards.valid.n_documents} documents that no model "
            "saw in training. Loss in nats per token. The n-gram models are interpolated by "
            "modified Kneser-Ney smoothing and counted on the same training tokens."
        ),
        samples=[Sample(**sample) for sample in samples],
        samples_note=(
            f"Not selected: temperature {TEMPERATURE}, seeds 0 to {len(PROMPTS) - 1}. The "
            "vocabulary has lower case only and no line breaks; rules restored spaces and capitals."
        ),
        task=task,
        task_note=_task_note(task),
        facts=_facts(out, shards, metrics),
    )
    report = write_report(out, story)
    return DemoResult(
        out,
        scores,
        won,
        story.verdict,
        tuple(story.samples),
        task,
        report,
        command,
        serve_command,
        page_address,
    )


def verdict(scores: Sequence[ModelScore]) -> str:
    """A sentence that says whether the first of `scores` is better than each other one."""
    model, *opponents = scores
    best = min(opponents, key=lambda score: score.loss)
    unbeaten = [score.name for score in opponents if score.loss <= model.loss]
    if unbeaten:
        models = f"{' and '.join(unbeaten)} model{'s' if len(unbeaten) > 1 else ''}"
        judgement = f"It does not beat the {models}"
    else:
        judgement = f"It beats all {len(opponents)} n-gram models"
    return (
        f"{judgement}: its loss on the validation text is {model.loss:.3f} nats per token, that of "
        f"the {best.name} model {best.loss:.3f}."
    )


@contextmanager
def _resumable() -> Iterator[None]:
    """Say of an interrupted training how the demo resumes it."""
    try:
        yield
    except TrainingInterrupted as stop:
        raise TrainingInterrupted(str(stop), hint="start the demo again to resume") from stop


def _once(file: Path, make: Callable[[], Any]) -> Any:
    """The content of `file`, which `make` provides if the file does not exist."""
    if not file.exists():
        write_json(file, make())
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{file} is damaged: {error}", hint="delete the file and start the demo again"
        ) from error


def _ngrams(shards: Shards, reporter: Reporter) -> dict[str, float]:
    return asdict(ngram_losses(shards.train, shards.valid, shards.vocab_size, reporter))


def _write(out: Path, reporter: Reporter) -> list[dict[str, str]]:
    samples = []
    for seed, prompt in enumerate(PROMPTS):
        reporter("progress", task="generating", done=seed, total=len(PROMPTS), unit="samples")
        (written,) = generate(
            out,
            prompt,
            max_new_tokens=NEW_TOKENS,
            temperature=TEMPERATURE,
            seed=seed,
            surface="readable",
        )
        samples.append(asdict(Sample(prompt, written.text)))
    reporter("progress", task="generating", done=len(PROMPTS), total=len(PROMPTS), unit="samples")
    return samples


def _loss_of_model(out: Path, metrics: Metrics) -> float:
    """Validation loss of the best checkpoint, which a run folder stands for."""
    step = int(ModelFolder.open(out).path.name.removeprefix("step-"))
    return next(float(event["loss"]) for event in metrics.valid if event["step"] == step)


def _score(name: str, loss: float, tokens: int, shards: Shards) -> ModelScore:
    bits = bits_per_byte(loss, tokens, shards.valid.n_bytes)
    return ModelScore(name, loss, perplexity(loss), bits)


def _summary(out: Path, shards: Shards, metrics: Metrics) -> str:
    parameters = parameter_count(ModelFolder.open(out).config)
    return (
        f"A GPT of {parameters / 1e6:.1f} million parameters, trained from "
        f"scratch for {metrics.train_seconds / 60:.1f} minutes on the documentation that comes "
        f"with Python {platform.python_version()}: {shards.train.n_bytes / 1e6:.1f} MB of text, "
        f"read {metrics.train[-1]['epoch']:.1f} times."
    )


def _task_note(task: TaskComparison) -> str:
    train, valid, test = task.examples
    return (
        f"Which of {len(task.labels)} packages does a docstring come from: "
        f"{', '.join(task.labels)}? {train:,} examples to train on, {valid:,} to choose the best "
        f"checkpoint, {test:,} to test. Docstrings that contain the name of their package are left "
        "out. Both models have the same shape, vocabulary, examples and settings, and one seed "
        "each. Pre-training has read the docstrings as text, those of the test set too, but no "
        "labels. Intervals are of the bootstrap over the test examples."
    )


def _facts(out: Path, shards: Shards, metrics: Metrics) -> dict[str, str]:
    config = ModelFolder.open(out).config
    training = RunFolder.read_settings(out, PretrainSettings).training
    cores = processor.cores()
    return {
        "parameters": f"{parameter_count(config):,}",
        "shape": (
            f"{config.n_layer} layers, {config.n_embd} channels, {config.n_head} heads, "
            f"{config.n_positions} positions"
        ),
        "vocabulary": f"{shards.vocab_size:,} entries, trained on the text",
        "training text": (
            f"{len(shards.train):,} tokens in {shards.train.n_documents:,} documents"
        ),
        "training": (
            f"{metrics.train[-1]['step']:,} steps of {training.batch_size} windows, "
            f"{metrics.train_seconds:,.0f} s"
        ),
        "speed": (
            f"{metrics.tokens_per_s:,.0f} tokens/s, MFU {metrics.mfu:.0%} of the best measured "
            "matrix multiplication (medians)"
        ),
        "machine": f"{processor.name()}, {cores} core{'s' * (cores > 1)}",
    }
