"""Pre-training: a language model learns from running text (paper, section 3.1, eq. 1-2)."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ogpt.config.loader import to_toml
from ogpt.data.shards import Shards
from ogpt.errors import VocabularyMismatch
from ogpt.folders.model_card import training_facts, write_card
from ogpt.folders.run_folder import METRICS_FILE, RunFolder
from ogpt.reporting import JsonLines, Reporter, Several, silent
from ogpt.storage import only_writer, storage_error
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.training import tensorboard
from ogpt.training.cost import flops_per_token, training_memory_bytes
from ogpt.training.loop import Evaluation, Loop, ValidText, total_steps
from ogpt.version import __version__
from ogpt.weights.shapes import parameter_count
from ogpt.workflows.pretrain_setup import Setup, make_train_step, resolve_settings, set_up


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will cost, before its first step."""

    parameters: int
    train_tokens: int
    valid_tokens: int
    tokens_per_step: int
    total_steps: int
    epochs: float
    flops: float
    """Of the whole run."""
    memory_bytes: int
    """Estimate of the peak."""
    dtype: str
    compile: str
    threads: int
    device: str
    peak_flops_per_s: float
    """Best measured matrix product in that dtype."""
    tokens_per_s: float
    """Measured on a few micro-batches of the real shape."""
    mfu: float
    eta_s: float


@dataclass(frozen=True, slots=True)
class PretrainResult:
    """How a run ended."""

    out: Path
    steps: int
    valid: Evaluation
    """On the whole held-out text, after the last step."""


def pretrain(
    *,
    preset: str | None = None,
    data: Sequence[str] = (),
    valid: Sequence[str] = (),
    tokenizer: Path | None = None,
    init: Path | None = None,
    out: Path,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    reporter: Reporter = silent,
) -> PretrainResult:
    """Train a language model on text; every checkpoint is a model folder that loads as it is.

    Args:
        preset: Name of a preset (paper, small, tiny).
        data: Sources of text, or the one folder of shards that `prepare` made.
        valid: Sources of held-out text; without them a share of the documents is held out.
        tokenizer: Folder of a tokenizer; without it one is learned, or that of `init` or of the
            shards is used.
        init: Model folder or run to go on training from; its shape wins over the settings'.
        out: Folder of the run.
        config: TOML file of settings.
        overrides: `section.field=value`, the last word.
        resume: Go on with the run in `out` from its last checkpoint; a run that is not there yet
            is begun. The run's own settings hold.
        reporter: Told all events (ogpt/reporting.py).

    Raises:
        ConfigError: settings that cannot be, or that differ from those of the run to resume.
        OutputExists: `out` holds a run and `resume` is off, or another process writes into it.
        DataError, TokenizerError, VocabularyMismatch, CheckpointError: inputs that cannot be used.
        TrainingDiverged, TrainingInterrupted, StorageError: see Loop.run.
    """
    out = Path(out)
    settings = resolve_settings(preset, config, overrides, out, resume)
    with only_writer(out):
        setup = set_up(settings, overrides, data, valid, tokenizer, init, out, reporter)
        return _pretrain(setup, out, reporter)


def _pretrain(setup: Setup, out: Path, reporter: Reporter) -> PretrainResult:
    settings = setup.settings
    if RunFolder.is_run(out):
        run = RunFolder.open(out)
    else:
        comment = f"ogpt {__version__}, Python {platform.python_version()}"
        run = RunFolder.create(out, to_toml(settings, comment))
        run.facts["init"] = str(setup.init) if setup.init else None
    _check_same_data(run, setup.shards)
    if run.facts.get("finished"):
        reporter("message", text=f"the run in {out} is finished; a longer one begins with --init")
        return PretrainResult(out, run.facts["steps"], Evaluation(**run.facts["valid"]))
    step = make_train_step(setup)
    state = run.load_last(step)
    done = 0 if state is None else int(state["step"])
    run.cut_metrics(done)
    valid_text = ValidText(
        lambda: setup.windows("valid").sequential(settings.training.micro_batch_size),
        len(setup.shards.valid),
        setup.shards.valid.n_bytes,
    )
    tokenizer_ = open_tokenizer(setup.shards.tokenizer)

    sources = [str(source["name"]) for source in setup.shards.manifest.inputs["data"]]
    about = training_facts(settings, setup.config.n_positions, sources, step.description)

    def add_files(folder: Path) -> None:
        tokenizer_.save_pretrained(folder)
        write_card(folder, about)

    try:
        with ExitStack() as stack:
            metrics = stack.enter_context(open(out / METRICS_FILE, "a", encoding="utf-8"))
            listeners: list[Reporter] = [reporter, JsonLines(metrics)]
            if tensorboard.available():
                board = tensorboard.TensorBoard(out / "tensorboard", done)
                stack.callback(board.close)
                listeners.append(board)
            else:
                text = "no curves for TensorBoard, which is not installed: pip install tensorboard"
                reporter("message", text=text)
            loop = Loop(
                step,
                setup.windows("train"),
                valid_text,
                settings.training,
                run,
                Several(*listeners),
                add_files,
                state,
            )
            found = loop.run()
    except OSError as error:  # also when closing what a full disk did not take
        raise storage_error(out, error) from error
    measures = {
        "held-out perplexity": f"{found.perplexity:.4g}",
        "held-out bits per byte": f"{found.bits_per_byte:.4g}",
    }
    write_card(run.checkpoint(loop.step), about, evaluation=measures)
    run.facts.update(finished=True, steps=loop.step, valid=dataclasses.asdict(found))
    run.save_facts()
    return PretrainResult(out, loop.step, found)


def plan(
    *,
    preset: str | None = None,
    data: Sequence[str] = (),
    valid: Sequence[str] = (),
    tokenizer: Path | None = None,
    init: Path | None = None,
    out: Path,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    reporter: Reporter = silent,
) -> Plan:
    """What `pretrain` with the same arguments would cost; the text is prepared, nothing is trained.

    Tokens a second are measured on micro-batches of the real shape, compiled if the run will be.
    """
    settings = resolve_settings(preset, config, overrides, Path(out), resume)
    with only_writer(Path(out)):
        setup = set_up(settings, overrides, data, valid, tokenizer, init, Path(out), reporter)
    windows = setup.windows("train")
    training = settings.training
    steps = total_steps(training, windows.n_windows)
    length = setup.config.n_positions
    step = make_train_step(setup)
    micro = training.micro_batch_size
    step.train([windows.batch(0, micro)], 0, 0.0)  # compiles, and touches all memory
    rates = []
    for number in range(1, 4):
        begin = time.perf_counter()
        step.train([windows.batch(number * micro, micro)], number, 0.0)
        rates.append(micro * length / (time.perf_counter() - begin))
    tokens_per_s = sorted(rates)[1]
    step_tokens = training.batch_size * length
    per_token = flops_per_token(setup.config, length)
    return Plan(
        parameters=parameter_count(setup.config),
        train_tokens=len(setup.shards.train),
        valid_tokens=len(setup.shards.valid),
        tokens_per_step=step_tokens,
        total_steps=steps,
        epochs=steps * training.batch_size / windows.n_windows,
        flops=per_token * steps * step_tokens,
        memory_bytes=training_memory_bytes(
            setup.config, micro, length, step.description["dtype"] == "bfloat16"
        ),
        dtype=str(step.description["dtype"]),
        compile=str(step.description["compile"]),
        threads=step.threads,
        device=str(step.description["device"]),
        peak_flops_per_s=step.peak_flops_per_s,
        tokens_per_s=tokens_per_s,
        mfu=tokens_per_s * per_token / step.peak_flops_per_s,
        eta_s=steps * step_tokens / tokens_per_s,
    )


def _check_same_data(run: RunFolder, shards: Shards) -> None:
    seen = {
        "tokenizer": shards.fingerprint,
        "train_tokens": len(shards.train),
        "shards": shards.manifest.content_sha256,
    }
    known = run.facts.setdefault("data", seen)
    if known != {name: seen.get(name) for name in known}:
        raise VocabularyMismatch(
            f"the run in {run.path} was trained on other shards: {known}, now {seen}",
            hint="resume with the --data that the run was begun with",
        )
    run.save_facts()
