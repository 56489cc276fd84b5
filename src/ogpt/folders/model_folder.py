"""A model folder, opened once: configuration, tokenizer, weights and what is known of its training.

MODEL can be a model folder, the folder of a run or a sweep, or an id of the Hugging Face Hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, Unpack

from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.errors import CheckpointError, VocabularyMismatch
from ogpt.folders.lease import Lease
from ogpt.hub import HubOptions, model_folder
from ogpt.layout import CONFIG_FILE, SHAPES_FILE, WEIGHTS_FILE, WeightsFiles, weights_files
from ogpt.notices import tell
from ogpt.reading import parse_json, unreadable
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.tokens.tokenizer_folder import holds_tokenizer
from ogpt.weights.arrays import Array
from ogpt.weights.model_weights import folder_config, open_weights
from ogpt.weights.quantized import QuantizedWeights, open_quantized, quantized_dtype
from ogpt.weights.shapes import architecture_of

RUN_FILE = "run.json"
SWEEP_FILE = "sweep.json"
CHECKPOINTS = "checkpoints"
CHECKPOINT_NAME = r"step-\d+"

W = TypeVar("W")


@dataclass(frozen=True, eq=False)
class ModelFolder:
    """A model folder and what lies in it. `ModelFolder.open` makes one.

    Pass it in place of a path to share it between calls: configuration, tokenizer and weights are
    read on first use, each once.

    >>> import tempfile
    >>> from ogpt import ModelFolder, OpenAIGPTConfig
    >>> path = tempfile.TemporaryDirectory()
    >>> OpenAIGPTConfig(n_layer=2).save_pretrained(path.name)
    >>> ModelFolder.open(path.name).config.n_layer
    2
    >>> path.cleanup()

    Args:
        path: The folder of config.json, weights and tokenizer.
        run: Contents of run.json, if the folder is a checkpoint chosen from a run; else None.
        n_head: Number of attention heads of OpenAI's files, which do not store it.
        lease: Keeps a checkpoint from being removed by its run for as long as this object, or the
            weights of it, are in use.
        variant: Of the weights files, such as fp16 for model.fp16.safetensors.
    """

    path: Path
    run: Mapping[str, Any] | None = None
    n_head: int | None = None
    lease: Lease | None = field(default=None, repr=False)
    variant: str | None = None

    @classmethod
    def open(
        cls,
        model: str | Path | ModelFolder,
        *,
        n_head: int | None = None,
        **hub: Unpack[HubOptions],
    ) -> ModelFolder:
        """Find a model folder; nothing in it is read yet.

        A run stands for its best checkpoint, or else its last, and a finished sweep of
        `ogpt finetune` for its best run. A checkpoint without configuration
        or weights is skipped with the notice `checkpoint-set-aside`. While the run trains on, it
        does not remove the checkpoint until this object is no longer in use.

        Args:
            model: A model folder, the folder of a run or a sweep, or an id of the Hub; a
                ModelFolder is returned as it is.
            n_head: Number of attention heads of OpenAI's files, which do not store it.
            **hub: How to fetch from the Hub, as in `ogpt.hub.model_folder`.

        Raises:
            CheckpointError: there is no such folder, it holds neither a model nor a checkpoint, or
                a sweep that is not finished.
            HubError: the Hub has no such model, or cannot be reached.
        """
        if isinstance(model, ModelFolder):
            for name, value in {"n_head": n_head, **hub}.items():
                if value:
                    reason = "the model folder is open already"
                    tell("setting-without-effect", setting=name, reason=reason)
            return model
        path = model_folder(model, **hub)
        _check_readable(path)
        if not (path / CONFIG_FILE).exists() and not (path / SHAPES_FILE).exists():
            path = _best_run(path) if (path / SWEEP_FILE).exists() else path
            if not (path / RUN_FILE).exists():
                raise CheckpointError(
                    f"{path} holds no {CONFIG_FILE} and no {RUN_FILE}: it is no model and no run",
                    hint="pass a model folder (config.json, model.safetensors) or a run folder",
                )
            run, lease = _choose_checkpoint(path)
            return cls(lease.folder, run, n_head, lease)
        return cls.at(path, n_head, hub.get("variant"))

    @classmethod
    def at(cls, path: Path, n_head: int | None = None, variant: str | None = None) -> ModelFolder:
        """The model folder at `path`, unchecked; a checkpoint of a run is held as in `open`."""
        lease = Lease(path) if re.fullmatch(CHECKPOINT_NAME, path.name) else None
        return cls(path, n_head=n_head, lease=lease, variant=variant)

    def __fspath__(self) -> str:
        """The folder's path: os.fspath, and whatever takes a path, takes a ModelFolder."""
        return str(self.path)

    @cached_property
    def config(self) -> OpenAIGPTConfig:
        """The configuration; of OpenAI's files, what their shapes show.

        Raises:
            CheckpointError: it is damaged.
            ConfigError: a value is outside its range, or is not `n_head`.
            WeightsError: the shapes of OpenAI's files are damaged.
        """
        return folder_config(self.path, self.n_head)

    @property
    def architecture(self) -> str:
        """Name of the model class that wrote the folder, such as OpenAIGPTLMHeadModel."""
        return architecture_of(self.config)

    @property
    def labels(self) -> list[str]:
        """Names of the labels of a classifier, in the order of their ids."""
        return [self.config.id2label[index] for index in sorted(self.config.id2label)]

    @property
    def quantized(self) -> str | None:
        """int8 or int4 if the weights are quantized, else None.

        Raises:
            ConfigError: another program quantized them.
        """
        return quantized_dtype(self.config)

    @property
    def files(self) -> WeightsFiles:
        """Format and names of the weights files; the best format if there are several."""
        return weights_files((file.name for file in self.path.glob("*")), self.variant)

    @property
    def weights_bytes(self) -> int:
        """Size of the weights files."""
        return sum((self.path / name).stat().st_size for name in self.files.files)

    @property
    def has_tokenizer(self) -> bool:
        """Whether the folder holds any file of a tokenizer."""
        return holds_tokenizer(self.path)

    @cached_property
    def saved_tokenizer(self) -> BPETokenizer:
        """The tokenizer of the files, not checked against the model.

        Raises:
            TokenizerError: its files are missing or damaged.
        """
        return open_tokenizer(self.path)

    @cached_property
    def tokenizer(self) -> BPETokenizer:
        """The tokenizer, checked against the model's vocabulary.

        Its model_max_length is the model's n_positions, whatever the files say.

        Raises:
            TokenizerError: its files are missing or damaged.
            VocabularyMismatch: it is not the model's.
        """
        tokenizer = self.saved_tokenizer
        check_vocabulary(tokenizer, self.config, self.path)
        tokenizer.model_max_length = self.config.n_positions
        return tokenizer

    @cached_property
    def weights(self) -> Mapping[str, Array]:
        """Floating-point weights by name; each is read on access.

        Raises:
            WeightsError: they are missing, damaged, or quantized.
            BackendMissing: they are in tf_model.h5, and h5py is not installed.
        """
        return self._leased(open_weights(self.path, self.variant))

    @cached_property
    def quantized_weights(self) -> QuantizedWeights:
        """Quantized weights by name; each is read on access.

        Raises:
            ConfigError: the folder is not quantized.
            WeightsError: they are missing, damaged, or do not fit the configuration.
        """
        return self._leased(open_quantized(self.path, self.config))

    def _leased(self, arrays: W) -> W:
        if self.lease is not None:
            self.lease.cover(arrays)
        return arrays


def _check_readable(folder: Path) -> None:
    """Check that a folder can be listed; what it must hold is checked later.

    Raises:
        CheckpointError: it exists and cannot be listed.
    """
    try:
        next(folder.iterdir(), None)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise unreadable(folder, error, CheckpointError) from error


def _best_run(sweep: Path) -> Path:
    """The best run of a finished sweep.

    Raises:
        CheckpointError: it is not finished, or sweep.json is damaged.
    """
    file = sweep / SWEEP_FILE
    try:
        facts = parse_json(file.read_text("utf-8"))
        finished, name = facts["finished"], Path(facts.get("best_run", ""))
        if name.is_absolute() or ".." in name.parts:
            raise ValueError(f"{str(name)!r} is not the name of a run")
    except OSError as error:
        raise unreadable(file, error, CheckpointError) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is damaged: {error!r}",
            hint=f"use one of the runs in {sweep}, or rerun the sweep with --resume",
        ) from error
    if not finished:
        raise CheckpointError(
            f"the sweep in {sweep} is not finished, so its best run is not known",
            hint=f"continue it with --resume, or use one of the runs in {sweep}",
        )
    return sweep / name


def _choose_checkpoint(run: Path) -> tuple[dict[str, Any], Lease]:
    """The facts of a run, and a lease of its best complete checkpoint, or else of the last.

    A run that trains may remove a checkpoint before it is held. It has named another by then, and
    the choice is made again.
    """
    facts = read_run_facts(run)
    named = list(dict.fromkeys(name for name in (facts["best"], facts["last"]) if name))
    if not named:
        raise CheckpointError(
            f"the run in {run} has no checkpoint yet", hint="continue training with --resume"
        )
    set_aside = []
    for name in named:
        lease = Lease(run / CHECKPOINTS / str(name))
        held = {file.name for file in lease.folder.glob("*")}
        missing = [] if lease.in_place else [CONFIG_FILE]
        if not weights_files(held).files:
            missing.append(WEIGHTS_FILE)
        if not missing:
            break
        if read_run_facts(run) != facts:
            return _choose_checkpoint(run)
        set_aside.append((lease.folder, f"it has no {' and no '.join(missing)}"))
    for folder, reason in set_aside:
        tell("checkpoint-set-aside", path=folder, reason=reason)
    if len(set_aside) < len(named):
        return facts, lease
    raise CheckpointError(
        f"the checkpoints of the run in {run} are incomplete: {', '.join(named)}",
        hint="restore one from a copy, or resume from an older one with --resume",
    )


def read_run_facts(run: Path) -> dict[str, Any]:
    """Contents of run.json; `best` and `last` are names of checkpoints, or None.

    Raises:
        CheckpointError: the file is damaged.
    """
    file = run / RUN_FILE
    try:
        facts = parse_json(file.read_text("utf-8"))
        for name in (facts["best"], facts["last"]):
            if not (name is None or re.fullmatch(CHECKPOINT_NAME, name)):
                raise ValueError(f"{name!r} is not the name of a checkpoint")
    except OSError as error:
        raise unreadable(file, error, CheckpointError) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file} is damaged: {error!r}",
            hint=f"restore it from a copy, or use one of the folders in {run / CHECKPOINTS}",
        ) from error
    return dict(facts)


def check_vocabulary(tokenizer: BPETokenizer, config: OpenAIGPTConfig, what: str | Path) -> None:
    """Check that a tokenizer fits a model, as far as the configuration shows it.

    Every id needs a row in the model. A model that ogpt trained also stores the fingerprint of its
    tokenizer, which may have tokens added to it since: that gives the notice `tokenizer-grown`.

    Args:
        tokenizer: To check.
        config: Of the model.
        what: Where the model comes from, for the error.

    Raises:
        VocabularyMismatch: they do not belong together.
    """
    added: list[str] | None = []
    if hasattr(config, TOKENIZER_FINGERPRINT):
        trained_with = str(getattr(config, TOKENIZER_FINGERPRINT))
        added = tokenizer.added_since(trained_with)
        if added is None:
            raise VocabularyMismatch(
                f"the model in {what} was trained with another tokenizer ({trained_with[:12]}) "
                f"than this one ({tokenizer.fingerprint[:12]})",
                hint="copy the tokenizer files of the model that it was made from into its folder; "
                f"if you are sure that this tokenizer gives the same ids, delete "
                f"{TOKENIZER_FINGERPRINT} from {CONFIG_FILE}",
            )
    if len(tokenizer) > config.vocab_size:
        raise VocabularyMismatch(
            f"the tokenizer has {len(tokenizer)} entries; the model in {what} has "
            f"{config.vocab_size} rows",
            hint="use the tokenizer that the model was trained with, or add rows for new tokens: "
            "model.resize_token_embeddings(len(tokenizer))",
        )
    if added:
        tell("tokenizer-grown", path=what, tokens=", ".join(map(repr, added)))
