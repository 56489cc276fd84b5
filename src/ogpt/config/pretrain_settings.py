"""The settings of a pre-training run: frozen values, checked once, saved with the run.

The text below a field is its documentation; `--set section.field=value` names them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ogpt.errors import ConfigError


def _require(condition: bool, name: str, seen: object, allowed: str) -> None:
    if not condition:
        raise ConfigError(
            f"{name} is {seen!r}; allowed: {allowed}",
            hint=f"change it: --set {name}=VALUE, a TOML file, or the command's own option for it",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The shape of the model (paper, section 4.1)."""

    n_layer: int = 12
    """Transformer blocks."""
    n_head: int = 12
    """Attention heads in a block."""
    n_embd: int = 768
    """Channels; a multiple of n_head."""
    n_positions: int = 512
    """Longest sequence, in tokens."""
    embd_pdrop: float = 0.1
    """Dropout on the embeddings, 0 to below 1."""
    attn_pdrop: float = 0.1
    """Dropout on attention probabilities, 0 to below 1."""
    resid_pdrop: float = 0.1
    """Dropout on what each sub-layer adds, 0 to below 1."""

    def __post_init__(self) -> None:
        for name in ("n_layer", "n_head", "n_embd", "n_positions"):
            value = getattr(self, name)
            _require(value >= 1, f"model.{name}", value, "1 or more")
        _require(
            self.n_embd % self.n_head == 0,
            "model.n_embd",
            self.n_embd,
            f"a multiple of model.n_head ({self.n_head})",
        )
        for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"model.{name}", value, "0 to below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """The vocabulary learned when none is given."""

    vocab_size: int = 40_000
    """Entries in all: <unk>, characters and merges."""
    pre_tokenizer: Literal["bert", "openai", "hf-spacy"] = "bert"
    """How text becomes words: BERT's rules, the 2018 order, or that of transformers 4."""

    def __post_init__(self) -> None:
        _require(
            self.pre_tokenizer in ("bert", "openai", "hf-spacy"),
            "tokenizer.pre_tokenizer",
            self.pre_tokenizer,
            "bert, openai, hf-spacy",
        )
        _require(self.vocab_size >= 2, "tokenizer.vocab_size", self.vocab_size, "2 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """How text becomes windows of tokens."""

    valid_fraction: float = 0.05
    """Share of the documents held out for validation, above 0 and below 1."""
    windows: Literal["contiguous", "packed"] = "contiguous"
    """contiguous: documents end to end; packed: whole short documents, blind to each other."""
    encoding: str = "utf-8"
    """Encoding of text files."""

    def __post_init__(self) -> None:
        _require(
            0 < self.valid_fraction < 1,
            "data.valid_fraction",
            self.valid_fraction,
            "above 0 and below 1",
        )
        _require(
            self.windows in ("contiguous", "packed"),
            "data.windows",
            self.windows,
            "contiguous, packed",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The optimisation (paper, section 4.1)."""

    seed: int = 0
    """Seeds initial weights, dropout and the order of windows."""
    epochs: float = 100.0
    """Passes over the training text."""
    max_steps: int = 0
    """Optimizer steps at most; 0: only epochs counts."""
    batch_size: int = 64
    """Windows in one optimizer step."""
    micro_batch_size: int = 8
    """Windows computed at once; the gradients of a step are summed over them."""
    learning_rate: float = 2.5e-4
    """Peak of the schedule."""
    warmup_steps: int = 2_000
    """Steps of linear warm-up from zero; cosine to zero follows."""
    weight_decay: float = 0.01
    """Decoupled decay, on matrices only."""
    adam_beta1: float = 0.9
    """Decay of the first moment."""
    adam_beta2: float = 0.999
    """Decay of the second moment."""
    adam_epsilon: float = 1e-8
    """Added to the root of the second moment."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the processor multiplies it, otherwise float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: where a compiler is there and the run is long enough to pay for it."""
    threads: int = 0
    """CPU threads; 0: all cores."""
    eval_every: int = 1_000
    """Steps between evaluations on the held-out text."""
    eval_windows: int = 0
    """Held-out windows used while training (the last evaluation uses all); 0: all."""
    checkpoint_every: int = 1_000
    """Steps between checkpoints; 0: only by time."""
    checkpoint_minutes: float = 15.0
    """Minutes between checkpoints; 0: only by steps."""
    log_every: int = 10
    """Steps between reports."""

    def __post_init__(self) -> None:
        at_least = {
            "seed": 0,
            "max_steps": 0,
            "batch_size": 1,
            "micro_batch_size": 1,
            "warmup_steps": 0,
            "weight_decay": 0,
            "clip_norm": 0,
            "threads": 0,
            "eval_every": 1,
            "eval_windows": 0,
            "checkpoint_every": 0,
            "checkpoint_minutes": 0,
            "log_every": 1,
        }
        for name, least in at_least.items():
            value = getattr(self, name)
            _require(value >= least, f"training.{name}", value, f"{least} or more")
        for name in ("epochs", "learning_rate", "adam_epsilon"):
            value = getattr(self, name)
            _require(value > 0, f"training.{name}", value, "above 0")
        for name in ("adam_beta1", "adam_beta2"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"training.{name}", value, "0 to below 1")
        _require(
            self.batch_size % self.micro_batch_size == 0,
            "training.batch_size",
            self.batch_size,
            f"a multiple of training.micro_batch_size ({self.micro_batch_size})",
        )
        _require(
            self.precision in ("auto", "float32", "bfloat16"),
            "training.precision",
            self.precision,
            "auto, float32, bfloat16",
        )
        _require(
            self.compile in ("auto", "on", "off"),
            "training.compile",
            self.compile,
            "auto, on, off",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """A whole pre-training run."""

    model: ModelSettings = field(default_factory=ModelSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    data: DataSettings = field(default_factory=DataSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
