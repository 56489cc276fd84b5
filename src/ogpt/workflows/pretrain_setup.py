"""What a pre-training run is made of: settings, shards, tokenizer, model, training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogpt.config.loader import load_settings
from ogpt.config.lstm_config import LSTMConfig, read_config
from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.config.pretrain_settings import ModelSettings, PretrainSettings
from ogpt.data.manifest import has_manifest
from ogpt.data.shards import Shards
from ogpt.data.sources import open_sources
from ogpt.data.unknown import notice_unknown_of
from ogpt.data.windows import Windows
from ogpt.errors import ConfigError, DataError, VocabularyMismatch
from ogpt.evaluation.zero_shot_probes import ZeroShotProbes
from ogpt.evaluation.zero_shot_sets import open_zero_shot_sets
from ogpt.folders.model_folder import CHECKPOINTS, ModelFolder, check_vocabulary
from ogpt.folders.run_folder import RunFolder
from ogpt.notices import each_once, tell
from ogpt.reporting import Reporter
from ogpt.storage import path_of
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.tokens.tokenizer_folder import write_max_length
from ogpt.training.loop import total_steps
from ogpt.training.schedule import SHORTENED, outlasts
from ogpt.workflows.prepare import prepare
from ogpt.workflows.run_settings import settings_of_run
from ogpt.workflows.train_tokenizer import train_tokenizer
from ogpt.workflows.training_backend import check_backend, check_initial_model

CADENCE = frozenset(
    f"training.{name}"
    for name in (
        *("eval_every", "checkpoint_every", "checkpoint_minutes", "log_every", "probe_rows"),
        "backend",
    )
)
"""Training settings that --resume may change: they affect reports, checkpoints and what computes,
not what is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRequest:
    """The arguments of `ogpt.pretrain`, which documents them."""

    out: Path
    preset: str | None = None
    data: tuple[str, ...] = ()
    valid: tuple[str, ...] = ()
    tokenizer: Path | None = None
    init: str | Path | ModelFolder | None = None
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    resume: bool = False
    probes: Path | None = None

    @classmethod
    def of(cls, *, backend: str | None = None, **arguments: Any) -> PretrainRequest:
        """A request of arguments as people pass them: a path may be a str, a list one item.

        A backend is one more override.
        """
        for name in ("out", "tokenizer", "config", "probes"):
            if arguments.get(name) is not None:
                arguments[name] = path_of(arguments[name], name)
        for name in ("data", "valid", "overrides"):
            given = arguments.get(name, ())
            items = (given,) if isinstance(given, str | Path) else given
            arguments[name] = tuple(map(str, items))
        if backend is not None:
            arguments["overrides"] += (f"training.backend={backend}",)
        return cls(**arguments)


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a run is made of."""

    settings: PretrainSettings
    config: OpenAIGPTConfig
    shards: Shards
    tokenizer: Path
    """Folder of the tokenizer that checkpoints get: that of the shards, or one grown from it."""
    init: ModelFolder | None
    """The initial weights; None if a checkpoint to resume or a random generator has them."""
    train: Windows
    valid: Windows
    probes: ZeroShotProbes | None
    probes_folder: Path | None

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the run."""
        return total_steps(self.settings.training, self.train.n_windows)

    @property
    def run_tokens(self) -> int:
        """Tokens that the run trains on."""
        return self.total_steps * self.settings.training.batch_size * self.config.n_positions


def resolve_settings(request: PretrainRequest) -> PretrainSettings:
    """The requested settings; on resuming, those of the run in `out`.

    Raises:
        ConfigError: invalid settings, or settings that differ from those of the run.
        OutputExists: `out` holds a run and `resume` is off, or holds other things.
    """
    return settings_of_run(
        request.out,
        PretrainSettings,
        lambda file: load_settings(request.preset, file, request.overrides),
        config=request.config,
        named=request.preset is not None or request.config is not None,
        resume=request.resume,
        cadence=CADENCE,
    )


def set_up(
    request: PretrainRequest, settings: PretrainSettings, work: Path, reporter: Reporter
) -> Setup:
    """Train a tokenizer and prepare shards, unless they are passed; choose the model's shape.

    What can be wrong is checked first, before work that may take hours. A setting in `overrides`
    that has no effect, because of what is passed, gives a notice.

    Args:
        request: What was asked for.
        settings: Its settings.
        work: Folder that receives `tokenizer` and `shards`.
        reporter: Receives the events.

    Raises:
        DataError, TokenizerError, VocabularyMismatch, CheckpointError: inputs that cannot be used.
    """
    check_backend(settings.training.backend)
    run = RunFolder.open(request.out) if RunFolder.is_run(request.out) else None
    resumed = None
    if run is not None and run.facts["last"]:
        resumed = request.out / CHECKPOINTS / run.facts["last"]
    init = _initial_model(request, run, resumed)
    if init is not None and resumed is None:
        check_initial_model(init, settings.training)
    _check_network(settings, init)
    folder = _probes_folder(request, run)
    sets = open_zero_shot_sets(folder, settings.training.probe_rows) if folder else {}
    _notice_without_effect(request, init.path if init else None)
    steps = settings.training.max_steps
    early = 0 < steps <= settings.training.warmup_steps
    if early:
        _notice_warmup(settings.training.warmup_steps, steps)
    shards, chosen = _shards(request, settings, init, work, reporter)
    tokenizer = open_tokenizer(chosen)
    if init is None:
        config = model_config(settings.model, shards.vocab_size)
    else:
        config = init.config
        check_vocabulary(tokenizer, config, init.path)
    setattr(config, TOKENIZER_FINGERPRINT, tokenizer.fingerprint)
    if resumed is not None:  # a resumed run keeps its shape
        config = read_config(resumed)
    # made once: packing documents into windows takes a pass over all of them
    train, valid = (
        Windows(
            stream,
            config.n_positions,
            seed=settings.training.seed,
            packed=settings.data.windows == "packed",
        )
        for stream in (shards.train, shards.valid)
    )
    if train.n_windows and len(shards.valid) < 2:
        raise DataError(
            f"the validation text has {len(shards.valid)} tokens; scoring needs 2 or more",
            hint="pass more text, or other text with --valid",
        )
    probes = ZeroShotProbes(sets, tokenizer, config.n_positions) if sets else None
    setup = Setup(
        settings,
        config,
        shards,
        chosen,
        init=None if resumed else init,
        train=train,
        valid=valid,
        probes=probes,
        probes_folder=folder,
    )
    if not early and train.n_windows:
        _notice_warmup(settings.training.warmup_steps, setup.total_steps)
    return setup


def _probes_folder(request: PretrainRequest, run: RunFolder | None) -> Path | None:
    """The folder of the zero-shot probes: the one that is passed, else that of the run."""
    named = request.probes or (run and run.facts.get("probes"))
    return Path(named).absolute() if named else None


def model_config(settings: ModelSettings, vocab_size: int) -> OpenAIGPTConfig:
    """The configuration of a new model."""
    if settings.network == "lstm":
        names = ("n_positions", "n_embd", "lstm_units", "embd_pdrop", "resid_pdrop")
        return LSTMConfig(vocab_size, **{name: getattr(settings, name) for name in names})
    values = dataclasses.asdict(settings)
    for name in ("network", "lstm_units"):
        del values[name]
    return OpenAIGPTConfig(vocab_size, **values)


def _check_network(settings: PretrainSettings, init: ModelFolder | None) -> None:
    """Check what an LSTM cannot do.

    Raises:
        ConfigError: packed windows, or TensorFlow.
    """
    network = settings.model.network
    is_lstm = network == "lstm" if init is None else isinstance(init.config, LSTMConfig)
    if is_lstm and settings.data.windows == "packed":
        raise ConfigError(
            "data.windows is 'packed' and the network is an LSTM; allowed: 'contiguous'",
            hint="omit data.windows: only attention can keep the documents of a window apart",
        )
    if is_lstm and settings.training.backend == "tensorflow":
        raise ConfigError(
            "training.backend is 'tensorflow' and the network is an LSTM; allowed: 'torch'",
            hint="omit --backend: TensorFlow has the transformer alone",
        )


def _initial_model(
    request: PretrainRequest, run: RunFolder | None, resumed: Path | None
) -> ModelFolder | None:
    """The model to start from; None starts from random weights.

    A run that has a checkpoint no longer needs the model it started from, which may be gone.
    """
    named = request.init or (run and run.facts.get("init"))
    if not named:
        return None
    if resumed is not None:
        return ModelFolder.open(resumed)
    init = ModelFolder.open(named)
    check_vocabulary(open_tokenizer(request.tokenizer or init.path), init.config, init.path)
    return init


def _notice_warmup(warmup_steps: int, steps: int) -> None:
    if outlasts(warmup_steps, steps):
        tell(
            "warmup-shortened",
            warmup_steps=warmup_steps,
            total_steps=steps,
            used=steps // SHORTENED,
        )


def _notice_without_effect(request: PretrainRequest, init: Path | None) -> None:
    data, tokenizer = request.data, request.tokenizer
    prepared = _are_shards(data)
    reasons = {
        "model.": init and f"the shape is that of the model in {init}",
        "tokenizer.": (
            (prepared and f"the shards in {data[0]} have their tokenizer")
            or (tokenizer and f"the tokenizer in {tokenizer} is used")
            or (init and f"the tokenizer of {init} is used")
        ),
        "data.valid_fraction": prepared and "the shards are split already",
        "data.encoding": prepared and "the shards are tokenized already",
        "data.text_field": prepared and "the shards are tokenized already",
    }
    for override in request.overrides:
        for name, reason in reasons.items():
            if reason and override.strip().startswith(name):
                tell("setting-without-effect", setting=override, reason=reason)


def _are_shards(data: Sequence[str]) -> bool:
    """Whether the data is one folder that `prepare` made."""
    return len(data) == 1 and has_manifest(Path(data[0]))


def _shards(
    request: PretrainRequest,
    settings: PretrainSettings,
    init: ModelFolder | None,
    work: Path,
    reporter: Reporter,
) -> tuple[Shards, Path]:
    """The shards that were passed, or made of the text that was passed; and their tokenizer."""
    data, tokenizer, out = request.data, request.tokenizer, request.out
    specs = (*data, *request.valid)
    mixed = [spec for spec in specs if has_manifest(Path(spec))]
    if mixed and len(specs) > 1:
        raise ConfigError(
            f"{mixed[0]} is a folder of shards and was passed among other sources",
            hint="pass one folder of shards alone, or prepare all of the text together",
        )
    chosen = tokenizer or (init.path if init else None)
    if tokenizer is not None and init is not None:
        wanted = init.tokenizer.fingerprint
        _check_same_tokenizer(tokenizer, wanted, f"the model in {init.path} was trained")
    if _are_shards(data):
        shards = Shards.open(Path(data[0]))
        _check_same_tokenizer(shards.tokenizer, shards.fingerprint, "its shards were made")
        used = shards.tokenizer
        if chosen is not None:
            used = _tokenizer_of_shards(chosen, shards, grown_is_allowed=init is not None)
        notice_unknown_of(shards)
        shards.verify()
        return shards, used
    if not data:
        if has_manifest(work / "shards"):
            shards = Shards.open(work / "shards")
            notice_unknown_of(shards)
            return shards, shards.tokenizer
        raise ConfigError(
            "no text was passed: data is empty",
            hint="pass sources or a folder of shards with --data, such as builtin:python-docs",
        )
    # opened once: both functions below need the SHA-256 of every source
    reading: dict[str, Any] = {
        "encoding": settings.data.encoding,
        "text_field": settings.data.text_field,
    }
    text = open_sources(data, out=out, **reading)
    valid = open_sources(request.valid, out=out, **reading) if request.valid else ()
    with each_once():  # both functions look at the text
        if chosen is None:
            chosen = work / "tokenizer"
            train_tokenizer(
                text,
                settings.tokenizer.vocab_size,
                chosen,
                pre_tokenizer=settings.tokenizer.pre_tokenizer,
                reporter=reporter,
                **reading,
            )
            write_max_length(chosen, settings.model.n_positions)
        shards = prepare(
            text, chosen, work / "shards", valid=valid, settings=settings.data, reporter=reporter
        )
    return shards, shards.tokenizer


def _tokenizer_of_shards(chosen: Path, shards: Shards, *, grown_is_allowed: bool) -> Path:
    """Check the tokenizer in `chosen` against the shards; return the folder of the one to use.

    A model whose tokenizer got tokens since can train on the older shards: other text has the same
    ids. The run then keeps the grown tokenizer.
    """
    added = open_tokenizer(chosen).added_since(shards.fingerprint) if grown_is_allowed else None
    if not added:
        made = f"the shards in {shards.folder} were made"
        _check_same_tokenizer(chosen, shards.fingerprint, made)
        return shards.tokenizer
    tokens = ", ".join(map(repr, added))
    tell("shards-before-growth", path=shards.folder, tokenizer=chosen, tokens=tokens)
    return chosen


def _check_same_tokenizer(folder: Path, wanted: str, what: str) -> None:
    """Check that the tokenizer in `folder` has the fingerprint `wanted`."""
    seen = open_tokenizer(folder).fingerprint
    if seen != wanted:
        raise VocabularyMismatch(
            f"{what} with another tokenizer ({wanted[:12]}) than that in {folder} ({seen[:12]})",
            hint="omit --tokenizer and --init, or prepare the text again with this tokenizer",
        )
