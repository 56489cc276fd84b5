"""OpenAIGPTConfig: what a model is, with Hugging Face's fields, aliases and file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from ogpt.errors import CheckpointError, ConfigError
from ogpt.storage import write_json

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu", "swish")
"""Names for `afn`; GPT-1's gelu is the tanh approximation, so gelu and gelu_new are one."""

CONFIG_FILE = "config.json"


class OpenAIGPTConfig:
    """The configuration of a GPT-1 model (Hugging Face's class of the same name).

    Args:
        vocab_size: Rows of the token embedding, 1 or more.
        n_positions: Longest sequence in tokens, 1 or more.
        n_embd: Channels, a multiple of n_head.
        n_layer: Transformer blocks, 1 or more.
        n_head: Attention heads in a block, 1 or more.
        afn: Activation of the MLP, one of ACTIVATIONS.
        resid_pdrop: Dropout on what each sub-layer adds, 0 to below 1.
        embd_pdrop: Dropout on the embeddings, 0 to below 1.
        attn_pdrop: Dropout on attention probabilities, 0 to below 1.
        layer_norm_epsilon: Added to the variance, above 0.
        initializer_range: Standard deviation of initial weights, 0 or more.
        tie_word_embeddings: The language-model head is the token embedding.
        **extras: Kept as attributes and written back (legacy keys such as n_ctx or n_special).

    Raises:
        ConfigError: a value outside its range, at construction or at `check()`.
    """

    model_type: ClassVar[str] = "openai-gpt"
    attribute_map: ClassVar[dict[str, str]] = {
        "max_position_embeddings": "n_positions",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int

    def __init__(
        self,
        vocab_size: int = 40478,
        n_positions: int = 512,
        n_embd: int = 768,
        n_layer: int = 12,
        n_head: int = 12,
        afn: str = "gelu",
        resid_pdrop: float = 0.1,
        embd_pdrop: float = 0.1,
        attn_pdrop: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
        initializer_range: float = 0.02,
        tie_word_embeddings: bool = True,
        **extras: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.n_positions = n_positions
        self.n_embd = n_embd
        self.n_layer = n_layer
        self.n_head = n_head
        self.afn = afn
        self.resid_pdrop = resid_pdrop
        self.embd_pdrop = embd_pdrop
        self.attn_pdrop = attn_pdrop
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range
        self.tie_word_embeddings = tie_word_embeddings
        for name, value in extras.items():
            if hasattr(type(self), name):
                raise _bad(name, value, "no value: the name is taken by the class itself")
            setattr(self, name, value)
        self.check()

    def __getattr__(self, name: str) -> Any:
        """Read an alias such as hidden_size."""
        if name in self.attribute_map:
            return getattr(self, self.attribute_map[name])
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Write a field, by its name or its alias."""
        super().__setattr__(self.attribute_map.get(name, name), value)

    def __eq__(self, other: object) -> bool:
        """Equal when every field and extra is."""
        return isinstance(other, OpenAIGPTConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # mutable, as in Hugging Face

    def __repr__(self) -> str:
        """The class name and its JSON."""
        return f"OpenAIGPTConfig {json.dumps(self.to_dict(), indent=2, sort_keys=True)}"

    def check(self) -> None:
        """Check every field; a model does so before it is built.

        Raises:
            ConfigError: naming the field, the value seen and the values allowed.
        """
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise _bad(name, value, "a whole number, 1 or more")
        if self.n_embd % self.n_head != 0:
            raise _bad("n_embd", self.n_embd, f"a multiple of n_head ({self.n_head})")
        if self.afn not in ACTIVATIONS:
            raise _bad("afn", self.afn, ", ".join(ACTIVATIONS))
        for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value < 1:
                raise _bad(name, value, "a number, 0 to below 1")
        if not _is_number(self.layer_norm_epsilon) or self.layer_norm_epsilon <= 0:
            raise _bad("layer_norm_epsilon", self.layer_norm_epsilon, "a number above 0")
        if not _is_number(self.initializer_range) or self.initializer_range < 0:
            raise _bad("initializer_range", self.initializer_range, "a number, 0 or more")
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            value = getattr(self, name, None)
            for token_id in value if isinstance(value, list) else [value]:
                if token_id is not None and (type(token_id) is not int or token_id < 0):
                    raise _bad(name, value, "a token id, a list of them, or null")

    def to_dict(self) -> dict[str, Any]:
        """Every field and extra, with model_type, as plain values."""
        return {"model_type": self.model_type, **vars(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from plain values; unknown keys are kept as extras.

        Raises:
            ConfigError: a value outside its range, or the dictionary of another architecture.
        """
        values = dict(values)
        model_type = values.pop("model_type", cls.model_type)
        if model_type != cls.model_type:
            raise ConfigError(
                f"the configuration is of a {model_type!r} model; allowed: {cls.model_type!r}",
                hint="ogpt runs GPT-1 (openai-gpt) models only",
            )
        return cls(**values)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read `config.json` of a model folder.

        Raises:
            CheckpointError: the file is missing or is not JSON.
            ConfigError: as from_dict.
        """
        file = Path(folder) / CONFIG_FILE
        try:
            values = json.loads(file.read_text("utf-8"))
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{folder} holds no {CONFIG_FILE}, so it is no model folder",
                hint="give the folder that holds config.json and model.safetensors, or a run",
            ) from error
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{file} is damaged: {error}", hint="restore the file from a copy of the model"
            ) from error
        if not isinstance(values, dict):
            raise CheckpointError(
                f"{file} is damaged: it holds {type(values).__name__}, not an object",
                hint="restore the file from a copy of the model",
            )
        return cls.from_dict(values)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` into the folder, which is made if missing."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_json(Path(folder) / CONFIG_FILE, self.to_dict())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bad(name: str, seen: object, allowed: str) -> ConfigError:
    return ConfigError(
        f"{name} is {seen!r}; allowed: {allowed}", hint=f"set {name} in the configuration"
    )
