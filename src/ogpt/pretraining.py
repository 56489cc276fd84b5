"""Pre-training: a language model learns from running text (paper, section 3.1, eq. 1-2)."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogpt.bundle import check_vocabulary, resolve
from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.run import PretrainSettings
from ogpt.config.settings import load_settings, to_toml
from ogpt.data.manifest import NAME as MANIFEST_FILE
from ogpt.data.prepare import prepare
from ogpt.data.shards import Shards
from ogpt.data.tokenizer_training import train_tokenizer
from ogpt.data.windows import Windows
from ogpt.errors import BackendMissing, ConfigError, OutputExists, VocabularyMismatch
from ogpt.model_card import write_card
from ogpt.reporting import JsonLines, Reporter, Several, silent
from ogpt.storage import storage_error
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.training import tensorboard
from ogpt.training.loop import Evaluation, Loop, ValidText, total_steps
from ogpt.training.measures import flops_per_token, parameter_count, training_memory_bytes
from ogpt.training.run_folder import METRICS_FILE, SETTINGS_FILE, RunFolder
from ogpt.version import __version__

if TYPE_CHECKING:
    from ogpt.model.heads import OpenAIGPTLMHeadModel
    from ogpt.training.torch_step import TorchTrainStep

CADENCE = frozenset(
    {"eval_every", "eval_windows", "checkpoint_every", "checkpoint_minutes", "log_every"}
)
"""Training settings that --resume may change: they decide what is said and saved, not learned."""


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


@dataclass(frozen=True, slots=True)
class _Setup:
    """All that a run is made of."""

    settings: PretrainSettings
    config: OpenAIGPTConfig
    shards: Shards
    init: Path | None

    def windows(self, split: str) -> Windows:
        stream = self.shards.train if split == "train" else self.shards.valid
        return Windows(
            stream,
            self.config.n_positions,
            seed=self.settings.training.seed,
            packed=self.settings.data.windows == "packed",
        )


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
        OutputExists: `out` holds a run and `resume` is off.
        DataError, TokenizerError, VocabularyMismatch, CheckpointError: inputs that cannot be used.
        TrainingDiverged, TrainingInterrupted, StorageError: see Loop.run.
    """
    out = Path(out)
    settings = _settings(preset, config, overrides, out, resume)
    setup = _set_up(settings, data, valid, tokenizer, init, out, reporter)
    if RunFolder.is_run(out):
        run = RunFolder.open(out)
    else:
        comment = f"ogpt {__version__}, Python {platform.python_version()}"
        run = RunFolder.create(out, to_toml(settings, comment))
    _check_same_data(run, setup.shards)
    step = _train_step(setup)
    state = run.load_last(step)
    run.cut_metrics(0 if state is None else int(state["step"]))
    valid_text = ValidText(
        lambda: setup.windows("valid").sequential(settings.training.micro_batch_size),
        len(setup.shards.valid),
        setup.shards.valid.n_bytes,
    )
    tokenizer_ = OpenAIGPTTokenizerFast.from_pretrained(setup.shards.tokenizer)

    def add_files(folder: Path) -> None:
        tokenizer_.save_pretrained(folder)
        write_card(folder, setup.config, settings, setup.shards.manifest, step.description)

    with ExitStack() as stack:
        metrics = stack.enter_context(open(out / METRICS_FILE, "a", encoding="utf-8"))
        listeners: list[Reporter] = [reporter, JsonLines(metrics)]
        if tensorboard.available():
            board = tensorboard.TensorBoard(out / "tensorboard")
            stack.callback(board.close)
            listeners.append(board)
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
        try:
            found = loop.run()
        except OSError as error:
            raise storage_error(out, error) from error
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
    settings = _settings(preset, config, overrides, Path(out), resume)
    setup = _set_up(settings, data, valid, tokenizer, init, Path(out), reporter)
    windows = setup.windows("train")
    training = settings.training
    steps = total_steps(training, windows.n_windows)
    length = setup.config.n_positions
    step = _train_step(setup)
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


def _settings(
    preset: str | None, config: Path | None, overrides: Sequence[str], out: Path, resume: bool
) -> PretrainSettings:
    if not RunFolder.is_run(out):
        RunFolder.check_free(out)
        return load_settings(preset, config, overrides)
    if not resume:
        raise OutputExists(
            f"{out} already holds a run", hint="go on with it by --resume, or choose another --out"
        )
    saved = load_settings(file=out / SETTINGS_FILE)
    asked = load_settings(preset, config or (None if preset else out / SETTINGS_FILE), overrides)
    cadence = {name: getattr(asked.training, name) for name in CADENCE}
    resumed = dataclasses.replace(saved, training=dataclasses.replace(saved.training, **cadence))
    if resumed != asked:
        differing = [
            f"{section.name}.{item.name}"
            for section in dataclasses.fields(asked)
            for item in dataclasses.fields(getattr(asked, section.name))
            if getattr(getattr(asked, section.name), item.name)
            != getattr(getattr(resumed, section.name), item.name)
        ]
        raise ConfigError(
            f"the run in {out} was begun with other settings: {', '.join(differing)}",
            hint="resume with the settings it was begun with, or start another run with --init",
        )
    return resumed


def _set_up(
    settings: PretrainSettings,
    data: Sequence[str],
    valid: Sequence[str],
    tokenizer: Path | None,
    init: Path | None,
    out: Path,
    reporter: Reporter,
) -> _Setup:
    init = None if init is None else resolve(init)
    shards = _shards(settings, data, valid, tokenizer, init, out, reporter)
    if init is None:
        config = OpenAIGPTConfig(vocab_size=shards.vocab_size, **dataclasses.asdict(settings.model))
    else:
        config = OpenAIGPTConfig.from_pretrained(init)
        check_vocabulary(OpenAIGPTTokenizerFast.from_pretrained(shards.tokenizer), config, init)
    return _Setup(settings, config, shards, init)


def _shards(
    settings: PretrainSettings,
    data: Sequence[str],
    valid: Sequence[str],
    tokenizer: Path | None,
    init: Path | None,
    out: Path,
    reporter: Reporter,
) -> Shards:
    chosen = tokenizer or init
    if tokenizer is not None and init is not None:
        _check_same_tokenizer(tokenizer, init, f"the model in {init} was trained")
    if len(data) == 1 and (Path(data[0]) / MANIFEST_FILE).exists():
        shards = Shards.open(Path(data[0]))
        if chosen is not None:
            made = f"the shards in {data[0]} were made"
            _check_same_tokenizer(chosen, shards.tokenizer, made)
        return shards
    if not data:
        if (out / "shards" / MANIFEST_FILE).exists():
            return Shards.open(out / "shards")
        raise ConfigError(
            "no text was given: data is empty",
            hint="name sources or a folder of shards with --data, such as builtin:python-docs",
        )
    if chosen is None:
        chosen = out / "tokenizer"
        train_tokenizer(
            data,
            settings.tokenizer.vocab_size,
            chosen,
            encoding=settings.data.encoding,
            reporter=reporter,
        )
    return prepare(
        data, chosen, out / "shards", valid=valid, settings=settings.data, reporter=reporter
    )


def _check_same_tokenizer(given: Path, used: Path, what: str) -> None:
    seen = OpenAIGPTTokenizerFast.from_pretrained(given).fingerprint
    wanted = OpenAIGPTTokenizerFast.from_pretrained(used).fingerprint
    if seen != wanted:
        raise VocabularyMismatch(
            f"{what} with another tokenizer ({wanted[:12]}) than that in {given} ({seen[:12]})",
            hint="leave --tokenizer and --init out, or prepare the text again with this tokenizer",
        )


def _train_step(setup: _Setup) -> TorchTrainStep:
    try:
        import torch  # noqa: F401  # asks whether it is there
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"training needs PyTorch: {error}", hint="pip install 'ogpt[torch]'"
        ) from error
    from ogpt.training.torch_precision import choose_compile, choose_device
    from ogpt.training.torch_step import TorchTrainStep

    training = setup.settings.training
    device = choose_device()
    model = _initial_model(setup, device)
    length = setup.config.n_positions
    tokens = total_steps(training, setup.windows("train").n_windows) * training.batch_size * length
    compiled = choose_compile(
        training.compile, flops_per_token(setup.config, length) * tokens, device
    )
    return TorchTrainStep(model, training, compiled)


def _initial_model(setup: _Setup, device: Any) -> OpenAIGPTLMHeadModel:
    import torch

    from ogpt.model.heads import OpenAIGPTLMHeadModel

    if setup.init is not None:
        return OpenAIGPTLMHeadModel.from_pretrained(setup.init, torch.float32, str(device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.settings.training.seed)
        return OpenAIGPTLMHeadModel(setup.config).to(device)


def _check_same_data(run: RunFolder, shards: Shards) -> None:
    seen = {"tokenizer": shards.fingerprint, "train_tokens": len(shards.train)}
    known = run.facts.setdefault("data", seen)
    if known != seen:
        raise VocabularyMismatch(
            f"the run in {run.path} was trained on other shards: {known}, now {seen}",
            hint="resume with the --data that the run was begun with",
        )
    run.save_facts()
