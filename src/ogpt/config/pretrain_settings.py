"""The settings of a pre-training run: frozen values, checked once, saved with the run.

The text below a field is its documentation. `--set section.field=value` changes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ogpt.config.ranges import MAX_SEED, Multiple, Number, OneOf, Range, Whole
from ogpt.errors import ConfigError
from ogpt.processor import MOST_THREADS

BACKENDS = ("torch", "tensorflow")
"""What can compute a training."""

_DROPOUT = Number(0, 1, below=True)


def check(section: str, settings: object, ranges: Mapping[str, Range]) -> None:
    """Check the settings of a section.

    Raises:
        ConfigError: a value is not allowed.
    """
    for name, allowed in ranges.items():
        value = getattr(settings, name)
        try:
            allowed.keep(value)
        except ValueError:
            full = f"{section}.{name}"
            raise ConfigError(
                f"{full} is {value!r}; allowed: {allowed}",
                hint=f"change it: --set {full}=VALUE, a TOML file, or the command's own option",
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The shape of the model (paper, section 4.1)."""

    network: Literal["transformer", "lstm"] = "transformer"
    """transformer, or lstm: the paper's baseline (section 5), one recurrent layer of lstm_units.
    The number of layers and heads and attn_pdrop are those of a transformer alone."""
    lstm_units: int = 2048
    """Width of the LSTM's state."""
    n_layer: int = 12
    """Number of transformer blocks."""
    n_head: int = 12
    """Number of attention heads per block."""
    n_embd: int = 768
    """Number of channels; a multiple of n_head."""
    n_positions: int = 512
    """Context length, in tokens."""
    embd_pdrop: float = 0.1
    """Dropout on the embeddings, 0 to below 1."""
    attn_pdrop: float = 0.1
    """Dropout on the attention probabilities, 0 to below 1."""
    resid_pdrop: float = 0.1
    """Dropout on the output of each sub-layer, 0 to below 1."""

    def __post_init__(self) -> None:
        check("model", self, {"network": OneOf(("transformer", "lstm"))})
        sizes = ("lstm_units", "n_layer", "n_head", "n_embd", "n_positions")
        check("model", self, dict.fromkeys(sizes, Whole(1)))
        if self.network == "transformer":
            check("model", self, {"n_embd": Multiple(self.n_head, "model.n_head")})
        check("model", self, dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), _DROPOUT))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """The tokenizer that is trained when none is passed."""

    vocab_size: int = 40_000
    """Number of entries: <unk>, characters and merges; for bytes, 256 bytes and merges."""
    pre_tokenizer: Literal["bert", "openai", "hf-spacy", "bytes"] = "bert"
    """How text is split: into words by BERT's rules, in the 2018 order, or as transformers 4; or
    into byte-level pieces, which lose nothing (bytes)."""

    def __post_init__(self) -> None:
        ranges: dict[str, Range] = {
            "pre_tokenizer": OneOf(("bert", "openai", "hf-spacy", "bytes")),
            "vocab_size": Whole(2),
        }
        check("tokenizer", self, ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSettings:
    """How text becomes windows of tokens."""

    valid_fraction: float = 0.05
    """Share of the documents held out for validation, above 0 and below 1."""
    windows: Literal["contiguous", "packed"] = "contiguous"
    """contiguous: documents joined end to end. packed: whole short documents in one window, which
    do not attend to each other."""
    encoding: str = "utf-8"
    """Encoding of text files."""
    text_field: str = "text"
    """Field or column of .jsonl and .parquet files that holds the text."""

    def __post_init__(self) -> None:
        ranges: dict[str, Range] = {
            "valid_fraction": Number(0, 1, above=True, below=True),
            "windows": OneOf(("contiguous", "packed")),
        }
        check("data", self, ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The optimization (paper, section 4.1)."""

    seed: int = 0
    """Seed of initial weights, dropout and the order of windows, 0 to 2**64 - 1."""
    backend: Literal["torch", "tensorflow"] = "torch"
    """What computes: PyTorch or TensorFlow. A resumed run may change it."""
    epochs: float = 100.0
    """Passes over the training text."""
    max_steps: int = 0
    """Maximum number of optimizer steps; 0 sets no limit beside epochs."""
    batch_size: int = 64
    """Windows per optimizer step."""
    micro_batch_size: int = 8
    """Windows computed at once; the gradients of a step are summed over them. It changes memory
    and speed, not what is learned."""
    learning_rate: float = 2.5e-4
    """Peak of the schedule."""
    warmup_steps: int = 2_000
    """Steps of linear warm-up from 0, before the cosine to 0."""
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
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Dtype of activations. auto: bfloat16 where the hardware multiplies it, else float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile, or XLA of TensorFlow. auto: where the run is long enough to pay for it; torch
    also needs a C++ compiler."""
    threads: int = 0
    """Number of CPU threads, at most 1024; 0 uses all cores."""
    eval_every: int = 1_000
    """Steps between evaluations on the validation set."""
    eval_windows: int = 0
    """Validation windows used during training; 0 uses all. The last evaluation uses all."""
    probe_rows: int = 1_000
    """Rows of each set of --probes that are used, chosen with a fixed seed; 0 uses all."""
    checkpoint_every: int = 1_000
    """Steps between checkpoints; 0 saves by time only."""
    checkpoint_minutes: float = 15.0
    """Minutes between checkpoints; 0 saves by steps only."""
    log_every: int = 10
    """Steps between reports."""

    def __post_init__(self) -> None:
        counts = (
            *("max_steps", "warmup_steps"),
            *("eval_windows", "probe_rows", "checkpoint_every"),
        )
        from_zero = ("weight_decay", "clip_norm", "checkpoint_minutes")
        from_one = ("batch_size", "micro_batch_size", "eval_every", "log_every")
        positive = ("epochs", "learning_rate", "adam_epsilon")
        ranges: dict[str, Range] = dict.fromkeys(counts, Whole())
        ranges |= dict.fromkeys(from_one, Whole(1))
        ranges |= dict.fromkeys(from_zero, Number(0))
        ranges |= dict.fromkeys(positive, Number(0, above=True))
        ranges |= dict.fromkeys(("adam_beta1", "adam_beta2"), Number(0, 1, below=True))
        ranges["seed"] = Whole(0, MAX_SEED)
        ranges["threads"] = Whole(0, MOST_THREADS)
        ranges["precision"] = OneOf(("auto", "float32", "bfloat16"))
        ranges["backend"] = OneOf(BACKENDS)
        ranges["compile"] = OneOf(("auto", "on", "off"))
        check("training", self, ranges)
        micro = Multiple(self.micro_batch_size, "training.micro_batch_size")
        check("training", self, {"batch_size": micro})


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """A whole pre-training run."""

    model: ModelSettings = field(default_factory=ModelSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    data: DataSettings = field(default_factory=DataSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
