"""What a pre-training run is made of: settings, shards, tokenizer, model, training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ogpt.config.loader import load_settings
from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.data.manifest import NAME as MANIFEST_FILE
from ogpt.data.shards import Shards
from ogpt.data.windows import Windows
from ogpt.errors import BackendMissing, ConfigError, DataError, OutputExists, VocabularyMismatch
from ogpt.folders.model_folder import CHECKPOINTS, check_vocabulary, resolve
from ogpt.folders.run_folder import SETTINGS_FILE, RunFolder
from ogpt.notices import tell
from ogpt.reporting import Reporter
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.training.cost import flops_per_token
from ogpt.training.loop import total_steps
from ogpt.weights.model_weights import folder_config
from ogpt.workflows.prepare import prepare
from ogpt.workflows.train_tokenizer import train_tokenizer

if TYPE_CHECKING:
    from ogpt.model.heads import OpenAIGPTLMHeadModel
    from ogpt.training.torch_step import TorchTrainStep

CADENCE = frozenset({"eval_every", "checkpoint_every", "checkpoint_minutes", "log_every"})
"""Training settings that --resume may change: they decide what is said and saved, not learned."""


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a run is made of."""

    settings: PretrainSettings
    config: OpenAIGPTConfig
    shards: Shards
    init: Path | None

    def windows(self, split: Literal["train", "valid"]) -> Windows:
        """The windows of one split, as the settings ask for them."""
        stream = self.shards.train if split == "train" else self.shards.valid
        return Windows(
            stream,
            self.config.n_positions,
            seed=self.settings.training.seed,
            packed=self.settings.data.windows == "packed",
        )


def resolve_settings(
    preset: str | None, config: Path | None, overrides: Sequence[str], out: Path, resume: bool
) -> PretrainSettings:
    """The settings that were asked for, or on resuming those of the run in `out`.

    Raises:
        ConfigError: settings that cannot be, or that differ from those of the run.
        OutputExists: `out` holds a run and `resume` is off, or holds other things.
    """
    if not RunFolder.is_run(out):
        RunFolder.check_free(out)
        if resume:
            tell("run-begun", path=out)
        return load_settings(preset, config, overrides)
    if not resume:
        raise OutputExists(
            f"{out} already holds a run", hint="go on with it by --resume, or choose another --out"
        )
    saved = RunFolder.read_settings(out)
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


def set_up(
    settings: PretrainSettings,
    overrides: Sequence[str],
    data: Sequence[str],
    valid: Sequence[str],
    tokenizer: Path | None,
    init: Path | None,
    out: Path,
    reporter: Reporter,
) -> Setup:
    """Learn a tokenizer and prepare shards where they are not given; choose the model's shape.

    What was set with `overrides`, and what is given makes pointless, is told by a notice.

    Raises:
        DataError, TokenizerError, VocabularyMismatch, CheckpointError: inputs that cannot be used.
    """
    init = None if init is None else resolve(init)
    begun = RunFolder.open(out) if RunFolder.is_run(out) else None
    if init is None and begun is not None and begun.facts.get("init"):
        init = Path(begun.facts["init"])
    _tell_without_effect(overrides, data, tokenizer, init)
    shards = _shards(settings, data, valid, tokenizer, init, out, reporter)
    if init is None:
        config = OpenAIGPTConfig(vocab_size=shards.vocab_size, **dataclasses.asdict(settings.model))
    else:
        config = folder_config(init)
        check_vocabulary(open_tokenizer(shards.tokenizer), config, init)
    setattr(config, TOKENIZER_FINGERPRINT, shards.fingerprint)
    if begun is not None and begun.facts["last"]:  # its own shape, whatever it was begun from
        config = OpenAIGPTConfig.from_pretrained(out / CHECKPOINTS / begun.facts["last"])
    setup = Setup(settings, config, shards, init)
    _check_enough(setup)
    return setup


def _tell_without_effect(
    overrides: Sequence[str], data: Sequence[str], tokenizer: Path | None, init: Path | None
) -> None:
    prepared = _are_shards(data)
    reasons = {
        "model.": init and f"the shape is that of the model in {init}",
        "tokenizer.": (
            (prepared and f"the shards in {data[0]} have their tokenizer")
            or (tokenizer and f"the tokenizer in {tokenizer} is used")
            or (init and f"the tokenizer of {init} is used")
        ),
        "data.valid_fraction": prepared and "the shards have their held-out text",
        "data.encoding": prepared and "the shards were read already",
    }
    for override in overrides:
        for name, reason in reasons.items():
            if reason and override.strip().startswith(name):
                tell("setting-without-effect", setting=override, reason=reason)


def _are_shards(data: Sequence[str]) -> bool:
    """Whether the data is one folder that `prepare` made."""
    return len(data) == 1 and (Path(data[0]) / MANIFEST_FILE).exists()


def _check_enough(setup: Setup) -> None:
    """Check before the first step that both splits can be used."""
    if setup.windows("train").n_windows and len(setup.shards.valid) < 2:
        raise DataError(
            f"the held-out text has {len(setup.shards.valid)} tokens; scoring takes 2 or more",
            hint="give more text, or other text with --valid",
        )


def _shards(
    settings: PretrainSettings,
    data: Sequence[str],
    valid: Sequence[str],
    tokenizer: Path | None,
    init: Path | None,
    out: Path,
    reporter: Reporter,
) -> Shards:
    mixed = [spec for spec in (*data, *valid) if (Path(spec) / MANIFEST_FILE).exists()]
    if mixed and len(data) + len(valid) > 1:
        raise ConfigError(
            f"{mixed[0]} is a folder of shards and was given among other sources",
            hint="give one folder of shards alone, or prepare all of the text together",
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
            "no text was given: data is empty",
            hint="name sources or a folder of shards with --data, such as builtin:python-docs",
        )
    if chosen is None:
        chosen = out / "tokenizer"
        train_tokenizer(
            data,
            settings.tokenizer.vocab_size,
            chosen,
            pre_tokenizer=settings.tokenizer.pre_tokenizer,
            encoding=settings.data.encoding,
            reporter=reporter,
        )
    return prepare(
        data, chosen, out / "shards", valid=valid, settings=settings.data, reporter=reporter
    )


def _check_same_tokenizer(given: Path, wanted: str, what: str) -> None:
    """Check that the tokenizer in `given` has the fingerprint `wanted`."""
    seen = open_tokenizer(given).fingerprint
    if seen != wanted:
        raise VocabularyMismatch(
            f"{what} with another tokenizer ({wanted[:12]}) than that in {given} ({seen[:12]})",
            hint="leave --tokenizer and --init out, or prepare the text again with this tokenizer",
        )


def make_train_step(setup: Setup) -> TorchTrainStep:
    """The model with its first weights, in a training step on this machine's device.

    Raises:
        BackendMissing: PyTorch is not installed.
    """
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


def _initial_model(setup: Setup, device: Any) -> OpenAIGPTLMHeadModel:
    import torch

    from ogpt.model.heads import OpenAIGPTLMHeadModel

    if setup.init is not None:
        model = OpenAIGPTLMHeadModel.from_pretrained(setup.init, dtype=torch.float32, device=device)
        setattr(model.config, TOKENIZER_FINGERPRINT, setup.shards.fingerprint)
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.settings.training.seed)
        return OpenAIGPTLMHeadModel(setup.config).to(device)
