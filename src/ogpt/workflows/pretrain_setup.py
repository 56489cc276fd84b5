"""What a pre-training run is made of: settings, shards, tokenizer, model, training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ogpt.config.loader import load_settings
from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.data.manifest import NAME as MANIFEST_FILE
from ogpt.data.shards import Shards
from ogpt.data.sources import open_sources
from ogpt.data.windows import Windows
from ogpt.errors import BackendMissing, ConfigError, DataError, OutputExists, VocabularyMismatch
from ogpt.folders.model_folder import CHECKPOINTS, ModelFolder, check_vocabulary
from ogpt.folders.run_folder import SETTINGS_FILE, RunFolder
from ogpt.notices import tell
from ogpt.reporting import Reporter
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.training.loop import total_steps
from ogpt.training.step import TrainStep
from ogpt.weights.model_weights import folder_config
from ogpt.workflows.prepare import prepare
from ogpt.workflows.train_tokenizer import train_tokenizer

CADENCE = frozenset({"eval_every", "checkpoint_every", "checkpoint_minutes", "log_every"})
"""Training settings that --resume may change: they affect reports and checkpoints, not what is
learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRequest:
    """The arguments of `ogpt.pretrain`, which documents them."""

    out: Path
    preset: str | None = None
    data: Sequence[str] = ()
    valid: Sequence[str] = ()
    tokenizer: Path | None = None
    init: Path | None = None
    config: Path | None = None
    overrides: Sequence[str] = ()
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a run is made of."""

    settings: PretrainSettings
    config: OpenAIGPTConfig
    shards: Shards
    init: Path | None
    """Model folder of the initial weights."""
    train: Windows
    valid: Windows

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the run."""
        return total_steps(self.settings.training, self.train.n_windows)


def resolve_settings(request: PretrainRequest) -> PretrainSettings:
    """The requested settings; on resuming, those of the run in `out`.

    Raises:
        ConfigError: invalid settings, or settings that differ from those of the run.
        OutputExists: `out` holds a run and `resume` is off, or holds other things.
    """
    out, preset, config = request.out, request.preset, request.config
    if not RunFolder.is_run(out):
        RunFolder.check_free(out)
        if request.resume:
            tell("run-started", path=out)
        return load_settings(preset, config, request.overrides)
    if not request.resume:
        raise OutputExists(
            f"{out} already holds a run", hint="resume it with --resume, or choose another --out"
        )
    saved = RunFolder.read_settings(out)
    if preset is None and config is None:
        config = out / SETTINGS_FILE  # --resume alone repeats the run's own settings
    asked = load_settings(preset, config, request.overrides)
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
            f"the run in {out} was started with other settings: {', '.join(differing)}",
            hint="resume with the original settings, or start another run with --init",
        )
    return resumed


def set_up(request: PretrainRequest, settings: PretrainSettings, reporter: Reporter) -> Setup:
    """Train a tokenizer and prepare shards, unless they are passed; choose the model's shape.

    A setting in `overrides` that has no effect, because of what is passed, gives a notice.

    Raises:
        DataError, TokenizerError, VocabularyMismatch, CheckpointError: inputs that cannot be used.
    """
    init = None if request.init is None else ModelFolder.open(request.init).path
    run = RunFolder.open(request.out) if RunFolder.is_run(request.out) else None
    if init is None and run is not None and run.facts.get("init"):
        last = run.facts["last"]  # the run's own checkpoint: the initial model may be gone by now
        init = request.out / CHECKPOINTS / last if last else Path(run.facts["init"])
    _notice_without_effect(request, init)
    shards = _shards(request, settings, init, reporter)
    if init is None:
        config = OpenAIGPTConfig(vocab_size=shards.vocab_size, **dataclasses.asdict(settings.model))
    else:
        config = folder_config(init)
        check_vocabulary(open_tokenizer(shards.tokenizer), config, init)
    setattr(config, TOKENIZER_FINGERPRINT, shards.fingerprint)
    if run is not None and run.facts["last"]:  # a resumed run keeps its shape
        config = OpenAIGPTConfig.from_pretrained(request.out / CHECKPOINTS / run.facts["last"])
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
    return Setup(settings, config, shards, init, train, valid)


def make_train_step(setup: Setup) -> TrainStep:
    """The model with its initial weights, in a training step on this machine's device.

    Raises:
        BackendMissing: PyTorch is not installed.
    """
    try:
        import torch  # noqa: F401  # asks whether it is there
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"training needs PyTorch: {error}", hint="pip install 'ogpt[torch]'"
        ) from error
    from ogpt.training.torch_start import start_language_model

    training = setup.settings.training
    tokens = setup.total_steps * training.batch_size * setup.config.n_positions
    return start_language_model(setup.config, setup.init, training, tokens)


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
    }
    for override in request.overrides:
        for name, reason in reasons.items():
            if reason and override.strip().startswith(name):
                tell("setting-without-effect", setting=override, reason=reason)


def _are_shards(data: Sequence[str]) -> bool:
    """Whether the data is one folder that `prepare` made."""
    return len(data) == 1 and (Path(data[0]) / MANIFEST_FILE).exists()


def _shards(
    request: PretrainRequest, settings: PretrainSettings, init: Path | None, reporter: Reporter
) -> Shards:
    """The shards that were passed, or those made of the text that was passed."""
    data, tokenizer, out = request.data, request.tokenizer, request.out
    specs = (*data, *request.valid)
    mixed = [spec for spec in specs if (Path(spec) / MANIFEST_FILE).exists()]
    if mixed and len(specs) > 1:
        raise ConfigError(
            f"{mixed[0]} is a folder of shards and was passed among other sources",
            hint="pass one folder of shards alone, or prepare all of the text together",
        )
    chosen = tokenizer or init
    if tokenizer is not None and init is not None:
        wanted = open_tokenizer(init).fingerprint
        _check_same_tokenizer(tokenizer, wanted, f"the model in {init} was trained")
    if _are_shards(data):
        shards = Shards.open(Path(data[0]))
        shards.verify()
        _check_same_tokenizer(shards.tokenizer, shards.fingerprint, "its shards were made")
        if chosen is not None:
            made = f"the shards in {data[0]} were made"
            _check_same_tokenizer(chosen, shards.fingerprint, made)
        return shards
    if not data:
        if (out / "shards" / MANIFEST_FILE).exists():
            return Shards.open(out / "shards")
        raise ConfigError(
            "no text was passed: data is empty",
            hint="pass sources or a folder of shards with --data, such as builtin:python-docs",
        )
    # opened once: both functions below need the SHA-256 of every source
    encoding = settings.data.encoding
    text = open_sources(data, encoding, out=out)
    valid = open_sources(request.valid, encoding, out=out) if request.valid else ()
    if chosen is None:
        chosen = out / "tokenizer"
        train_tokenizer(
            text,
            settings.tokenizer.vocab_size,
            chosen,
            pre_tokenizer=settings.tokenizer.pre_tokenizer,
            encoding=settings.data.encoding,
            reporter=reporter,
        )
    return prepare(
        text, chosen, out / "shards", valid=valid, settings=settings.data, reporter=reporter
    )


def _check_same_tokenizer(folder: Path, wanted: str, what: str) -> None:
    """Check that the tokenizer in `folder` has the fingerprint `wanted`."""
    seen = open_tokenizer(folder).fingerprint
    if seen != wanted:
        raise VocabularyMismatch(
            f"{what} with another tokenizer ({wanted[:12]}) than that in {folder} ({seen[:12]})",
            hint="omit --tokenizer and --init, or prepare the text again with this tokenizer",
        )
