"""What a fine-tuning is made of: the task's data, tokenizer, sequences, model, training step."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ogpt.config.described import whole_or_named
from ogpt.config.finetune_settings import FinetuneSection, FinetuneSettings
from ogpt.config.loader import load_settings_of
from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.errors import ConfigError
from ogpt.folders.model_folder import ModelFolder
from ogpt.storage import path_of
from ogpt.tasks.batching import TaskBatches
from ogpt.tasks.encoded_examples import EncodedExamples, check_some_kept, encode_examples
from ogpt.tasks.example import Example
from ogpt.tasks.read_source import read_source
from ogpt.tasks.task_data import TaskData, check_data, check_kept, title_after_of
from ogpt.tasks.task_source import TaskSource
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tasks.task_tokens import add_task_tokens
from ogpt.tasks.transforms import Transform
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.training.cost import Lengths
from ogpt.training.loop import total_steps
from ogpt.training.step import TrainStep
from ogpt.workflows.run_settings import settings_of_run
from ogpt.workflows.training_backend import check_backend

CADENCE = frozenset(f"finetune.{name}" for name in ("checkpoint_minutes", "log_every", "backend"))
"""Settings that --resume may change: they affect reports, checkpoints and what computes, not what
is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneRequest:
    """The arguments of `ogpt.finetune`, which documents them."""

    model: str | Path | ModelFolder
    out: Path
    source: TaskSource | TaskData
    recipe: str | None = None
    backend: str | None = None
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    resume: bool = False

    @classmethod
    def of(
        cls,
        *,
        model: str | Path | ModelFolder,
        out: str | Path,
        source: TaskSource | TaskData | None = None,
        recipe: str | None = None,
        backend: str | None = None,
        config: str | Path | None = None,
        overrides: str | Sequence[str] = (),
        resume: bool = False,
        **named: Any,
    ) -> FinetuneRequest:
        """A request of arguments as people pass them; `named` are fields of a source."""
        if not isinstance(source, TaskData):
            source = whole_or_named(TaskSource, source, named)
        return cls(
            model=model,
            out=path_of(out, "out"),
            source=source,
            recipe=recipe,
            backend=backend,
            config=None if config is None else path_of(config, "config"),
            overrides=(overrides,) if isinstance(overrides, str) else tuple(overrides),
            resume=resume,
        )

    def settings(self, file: Path | None) -> FinetuneSettings:
        """The settings of a TOML file, recipe and overrides; None: without a file."""
        named = {"recipe": self.recipe, "backend": self.backend}
        chosen = [f"finetune.{name}={json.dumps(value)}" for name, value in named.items() if value]
        return load_settings_of(FinetuneSettings, file=file, overrides=[*chosen, *self.overrides])

    def read(self) -> TaskData:
        """The examples of the source."""
        return self.source if isinstance(self.source, TaskData) else read_source(self.source)


@dataclass(frozen=True, slots=True)
class FinetuneSetup:
    """All that a fine-tuning is made of."""

    settings: FinetuneSettings
    training: TrainingSettings
    folder: ModelFolder
    """The model to start from."""
    data: TaskData
    tokenizer: BPETokenizer
    """With the task tokens."""
    train: TaskBatches
    valid: Mapping[str, TaskBatches]
    test: Mapping[str, TaskBatches]
    """Of the test sets with labels: others cannot be scored."""

    @property
    def section(self) -> FinetuneSection:
        """The settings themselves."""
        return self.settings.finetune

    @property
    def spec(self) -> TaskSpec:
        """The task."""
        return self.data.spec

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the run."""
        return total_steps(self.training, self.train.n_windows)

    @property
    def run_tokens(self) -> float:
        """Tokens that the run trains on: all sequences of its examples, at their mean length."""
        examples = self.total_steps * self.section.batch_size
        return examples * self.train.encoded.n_tokens / self.train.n_windows

    @property
    def digest(self) -> str:
        """SHA-256 of all sequences and labels that decide the weights: a resumed run repeats it."""
        return _sha256(self.train, *self.valid.values())

    @property
    def test_digests(self) -> dict[str, str]:
        """SHA-256 of the sequences and labels of each test set with labels."""
        return {name: _sha256(batches) for name, batches in self.test.items()}


def _sha256(*parts: TaskBatches) -> str:
    sha256 = hashlib.sha256()
    for batches in parts:
        for rows in batches.encoded.sequences:
            for ids in rows:
                sha256.update(np.array([len(ids), *ids], dtype=np.int64).tobytes())
        if batches.encoded.labels is not None:
            sha256.update(batches.encoded.labels.tobytes())
    return sha256.hexdigest()


def finetune_settings(request: FinetuneRequest) -> FinetuneSettings:
    """The requested settings; on resuming, those of the run in `out`.

    Raises:
        ConfigError, OutputExists: as in settings_of_run.
    """
    return settings_of_run(
        request.out,
        FinetuneSettings,
        request.settings,
        config=request.config,
        named=request.config is not None,
        resume=request.resume,
        cadence=CADENCE,
    )


def set_up_finetune(request: FinetuneRequest, settings: FinetuneSettings) -> FinetuneSetup:
    """Read the task, encode its examples, and check everything before hours of work.

    Raises:
        ConfigError, DataError, TokenizerError, CheckpointError: inputs that cannot be used.
    """
    section = settings.finetune
    check_backend(section.backend)
    data = request.read()
    check_data(data, section.batch_size)
    data = replace(data, spec=replace(data.spec, recipe=section.recipe))
    folder = ModelFolder.open(request.model)
    _check_backend_has(section, folder)
    tokenizer = copy.deepcopy(folder.tokenizer)  # the caller's ModelFolder keeps its own
    tokens = add_task_tokens(tokenizer)
    of_2018 = section.recipe == "2018-code"
    transform = Transform(tokens, folder.config.n_positions, of_2018)

    def batches(examples: tuple[Example, ...], what: str) -> TaskBatches:
        whole = f"the {what} set{title_after_of(data.spec)}"
        encoded = encode_examples(
            examples,
            data.spec,
            tokenizer,
            transform,
            on_too_long=section.on_too_long,
            what=whole,
        )
        check_some_kept(len(encoded), len(examples), transform.n_positions, whole)
        return TaskBatches(
            encoded,
            tokens.delimiter,
            seed=section.seed,
            batch_size=section.batch_size,
            bucketed=not of_2018,
        )

    train = batches(data.train, "training")
    if train.n_windows < len(data.train):  # --on-too-long skip
        kept = [data.train[index] for index in train.encoded.kept.tolist()]
        check_kept(kept, section.batch_size, data.spec)
    valid = {name: batches(examples, name) for name, examples in data.valid.items()}
    # a validation set that is scored as a test set too is encoded once
    known = {id(examples): valid[name] for name, examples in data.valid.items()}
    if section.class_weights:
        class_weights(train.encoded, data.spec)  # refuses tasks without classes
    return FinetuneSetup(
        settings=settings,
        training=section.training(train.n_windows),
        folder=folder,
        data=data,
        tokenizer=tokenizer,
        train=train,
        valid=valid,
        test={
            name: known.get(id(examples)) or batches(examples, name)
            for name, examples in data.test.items()
            if any(example.label is not None for example in examples)
        },
    )


def make_finetune_step(setup: FinetuneSetup) -> TrainStep:
    """The model with its initial weights, in a training step on this machine's device."""
    rows = setup.train.encoded.sequences
    tokens = setup.train.encoded.n_tokens
    splits = (setup.train, *setup.valid.values(), *setup.test.values())
    lengths = Lengths(
        mean=tokens / sum(map(len, rows)),
        longest=int(setup.train.lengths.max()),
        context=max(int(part.lengths.max()) for part in splits),
        sequences=max(map(len, rows)),
        run_tokens=setup.run_tokens,
    )
    weights = (
        class_weights(setup.train.encoded, setup.spec) if setup.section.class_weights else None
    )
    section, training = setup.section, setup.training
    start = (setup.folder, setup.spec, setup.tokenizer, section)
    if section.backend == "tensorflow":
        from ogpt.training.tf_start import start_tf_fine_tuning
        from ogpt.training.tf_task_model import start_tf_task_model

        tf_model = start_tf_task_model(*start, training)
        return start_tf_fine_tuning(tf_model, setup.spec, section, training, lengths, weights)
    from ogpt.training.torch_precision import choose_device
    from ogpt.training.torch_start import start_fine_tuning
    from ogpt.training.torch_task_model import start_task_model

    model = start_task_model(*start, choose_device())
    return start_fine_tuning(model, setup.spec, section, training, lengths, weights)


def _check_backend_has(section: FinetuneSection, folder: ModelFolder) -> None:
    """Check that the backend can train the model by the recipe.

    Raises:
        ConfigError: TensorFlow has neither LSTMs nor the recipe of 2018.
    """
    if section.backend != "tensorflow":
        return
    if section.recipe == "2018-code":
        raise ConfigError(
            "finetune.backend is 'tensorflow' and the recipe is 2018-code; allowed: 'torch'",
            hint="omit --backend or --recipe: TensorFlow has the paper's recipe alone",
        )
    if isinstance(folder.config, LSTMConfig):
        raise ConfigError(
            f"finetune.backend is 'tensorflow' and {folder.path} is an LSTM; allowed: 'torch'",
            hint="omit --backend: TensorFlow has the transformer alone",
        )


def class_weights(encoded: EncodedExamples, spec: TaskSpec) -> list[float]:
    """The weight of each class: the inverse of its share, so that all classes weigh alike.

    Raises:
        ConfigError: the task has no classes.
    """
    if not spec.labels or spec.problem != "single_label_classification":
        raise ConfigError(
            f"finetune.class_weights is true; allowed for {spec.problem} of {spec.family}: false",
            hint="omit it: only classes can be weighted",
        )
    assert encoded.labels is not None
    counts = Counter(encoded.labels.tolist())
    n = len(encoded.labels)
    return [n / (len(spec.labels) * max(1, counts[index])) for index in range(len(spec.labels))]
