"""The settings of a fine-tuning: frozen values, checked once, saved with the run.

The text below a field is its documentation. `--set finetune.field=value` changes one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ogpt.config.pretrain_settings import BACKENDS, TrainingSettings, check
from ogpt.config.ranges import MAX_SEED, Multiple, Number, OneOf, Range, Switch, Whole
from ogpt.processor import MOST_THREADS


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSection:
    """How a model is fine-tuned; the defaults are the paper's (section 4.1)."""

    recipe: Literal["paper", "2018-code"] = "paper"
    """The paper's training, or that of the published code with its quirks (docs/fidelity.md)."""
    seed: int = 0
    """Of new weights, dropout and the order of the examples, 0 to 2**64 - 1."""
    backend: Literal["torch", "tensorflow"] = "torch"
    """What computes: PyTorch or TensorFlow. A resumed run may change it."""
    epochs: float = 3.0
    """Passes over the training examples."""
    max_steps: int = 0
    """Maximum number of optimizer steps; 0 sets no limit beside epochs."""
    batch_size: int = 32
    """Examples per optimizer step."""
    micro_batch_size: int = 0
    """Examples computed at once; 0 computes a whole batch. It changes memory and speed, not what is
    learned."""
    learning_rate: float = 6.25e-5
    """Peak of the schedule."""
    warmup_fraction: float = 0.002
    """Share of the run that warms up linearly, before the linear decay to 0."""
    lm_coef: float = 0.5
    """Weight of the auxiliary language loss; 0 trains without it."""
    classifier_dropout: float = 0.1
    """Dropout on the state that the classifier reads, 0 to below 1."""
    dropout: float = 0.1
    """Dropout inside the transformer, 0 to below 1."""
    weight_decay: float = 0.01
    """Decoupled weight decay, on matrices only."""
    adam_beta1: float = 0.9
    """Decay of the first moment."""
    adam_beta2: float = 0.999
    """Decay of the second moment."""
    adam_epsilon: float = 1e-8
    """Added to the root of the second moment."""
    clip_norm: float = 1.0
    """Maximum norm of the gradient; 0 disables clipping."""
    n_transfer: int = 1_000
    """Blocks that start from the pre-trained model, from the first one on; 0 keeps its embeddings
    only, -1 starts from random weights. More than the model has means all."""
    frozen_layers: int = 0
    """Blocks that are not trained, from the first one on."""
    class_weights: bool = False
    """Whether rare classes weigh more, each by the inverse of its share of the training set."""
    on_too_long: Literal["truncate", "error", "skip"] = "truncate"
    """What to do with an example that the model is too short for."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of activations. auto: bfloat16 where the hardware multiplies it, else float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile, or XLA of TensorFlow. auto: where the run is long enough to pay for it; torch
    also needs a C++ compiler."""
    threads: int = 0
    """Number of CPU threads, at most 1024; 0 uses all cores."""
    evals_per_epoch: int = 1
    """Evaluations on the validation set in each epoch; the best checkpoint is kept."""
    log_every: int = 10
    """Steps between reports."""
    checkpoint_minutes: float = 15.0
    """Minutes between checkpoints beside those of evaluations; 0 saves none."""

    def __post_init__(self) -> None:
        ranges: dict[str, Range] = {
            "recipe": OneOf(("paper", "2018-code")),
            "seed": Whole(0, MAX_SEED),
            "n_transfer": Whole(-1),
            "class_weights": Switch(),
            "on_too_long": OneOf(("truncate", "error", "skip")),
            "precision": OneOf(("auto", "float32", "bfloat16")),
            "backend": OneOf(BACKENDS),
            "compile": OneOf(("auto", "on", "off")),
            "threads": Whole(0, MOST_THREADS),
        }
        ranges |= dict.fromkeys(("max_steps", "micro_batch_size", "frozen_layers"), Whole())
        ranges |= dict.fromkeys(("batch_size", "evals_per_epoch", "log_every"), Whole(1))
        from_zero = ("lm_coef", "weight_decay", "clip_norm", "checkpoint_minutes")
        ranges |= dict.fromkeys(from_zero, Number(0))
        ranges |= dict.fromkeys(("epochs", "learning_rate", "adam_epsilon"), Number(0, above=True))
        below_one = ("warmup_fraction", "classifier_dropout", "dropout", "adam_beta1", "adam_beta2")
        ranges |= dict.fromkeys(below_one, Number(0, 1, below=True))
        check("finetune", self, ranges)
        if self.micro_batch_size:
            micro = Multiple(self.micro_batch_size, "finetune.micro_batch_size")
            check("finetune", self, {"batch_size": micro})

    def training(self, n_examples: int) -> TrainingSettings:
        """The same for the training loop, which counts in steps.

        Args:
            n_examples: Of the training set.
        """
        steps_per_epoch = max(1, math.ceil(n_examples / self.batch_size))
        return TrainingSettings(
            seed=self.seed,
            backend=self.backend,
            epochs=self.epochs,
            max_steps=self.max_steps,
            batch_size=self.batch_size,
            micro_batch_size=self.micro_batch_size or self.batch_size,
            learning_rate=self.learning_rate,
            warmup_steps=0,
            weight_decay=self.weight_decay,
            adam_beta1=self.adam_beta1,
            adam_beta2=self.adam_beta2,
            adam_epsilon=self.adam_epsilon,
            clip_norm=self.clip_norm,
            precision=self.precision,
            compile=self.compile,
            threads=self.threads,
            eval_every=max(1, steps_per_epoch // self.evals_per_epoch),
            checkpoint_every=0,
            checkpoint_minutes=self.checkpoint_minutes,
            log_every=self.log_every,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSettings:
    """A whole fine-tuning."""

    finetune: FinetuneSection = field(default_factory=FinetuneSection)
