"""LSTMConfig: the configuration of the paper's baseline, and reading that of either network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ogpt.config.config_file import config_values
from ogpt.config.fields import LARGEST, bad
from ogpt.config.model import OpenAIGPTConfig

_OF_LSTM = {
    "n_layer": 1,
    "n_head": 1,
    # Embeddings of N(0, 0.02) hardly move the gates of a network without LayerNorm, and training
    # starts slowly (docs/log.md).
    "initializer_range": 0.1,
}
"""Defaults that differ from the transformer's."""


class LSTMConfig(OpenAIGPTConfig):
    """The configuration of an LSTM in place of the transformer (paper, section 5, table 5).

    The models with a head are the same classes for both networks: their configuration selects the
    network. config.json names the model type `ogpt-lstm`, which other libraries refuse. The model
    counts as one layer with one head.

    Args:
        vocab_size: Number of tokens, 1 or more.
        n_positions: Context length in tokens, 1 or more: the length that it is trained and used
            with. The weights do not depend on it.
        n_embd: Width of the token embedding and of the hidden states, 1 or more.
        lstm_units: Width of the LSTM's state, 1 or more (paper: 2048).
        **fields: Other fields of OpenAIGPTConfig; those of attention and of the MLP have no effect.
            initializer_range is 0.1 by default, for the embedding and the heads.

    Raises:
        ConfigError: an invalid value, at construction or in `check()`.

    >>> from ogpt import LSTMConfig
    >>> config = LSTMConfig(vocab_size=50, n_embd=16, lstm_units=24)
    >>> config.to_diff_dict()["model_type"], config.n_layer
    ('ogpt-lstm', 1)
    """

    model_type: ClassVar[str] = "ogpt-lstm"
    defaults: ClassVar[dict[str, Any]] = {
        **OpenAIGPTConfig.defaults,
        **_OF_LSTM,
        "lstm_units": 2048,
    }
    always_written: ClassVar[set[str]] = {
        *("model_type", "vocab_size", "n_positions", "n_embd", "lstm_units"),
        *("embd_pdrop", "resid_pdrop", "initializer_range"),
        *("pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings"),
    }

    lstm_units: int

    def __init__(
        self,
        vocab_size: int = 40478,
        n_positions: int = 512,
        n_embd: int = 768,
        lstm_units: int = 2048,
        **fields: Any,
    ) -> None:
        self.lstm_units = lstm_units
        if fields.get("n_layer") is None:  # as in the file
            fields.pop("n_layer", None)
        super().__init__(vocab_size, n_positions, n_embd, **_OF_LSTM | fields)

    @property
    def only_ogpt(self) -> str:
        """Why transformers cannot load the model."""
        return "it is an LSTM, not a transformer"

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the content of config.json; see OpenAIGPTConfig."""
        # A GPT-1 class of transformers 5 only warns about another model_type, and would generate
        # noise from random blocks. It does refuse null.
        return {**super().to_diff_dict(), "n_layer": None}

    def check(self) -> None:
        """Validate all fields; see OpenAIGPTConfig."""
        super().check()
        units = self.lstm_units
        if type(units) is not int or not 1 <= units <= LARGEST:
            raise bad("lstm_units", units, f"an integer, 1 to {LARGEST}")
        of_attention = {"n_layer": 1, "n_head": 1, "pruned_heads": {}, "output_attentions": False}
        for name, allowed in of_attention.items():
            if getattr(self, name) != allowed:
                raise bad(
                    name,
                    getattr(self, name),
                    f"{allowed}: an LSTM is one layer without attention",
                    hint=f"omit {name}",
                )


def read_config(path_or_id: str | Path) -> OpenAIGPTConfig:
    """Read the config.json of a model of either network: an LSTMConfig if it is an LSTM's.

    Args:
        path_or_id: A model folder, a JSON file, or a Hub id.

    Raises:
        CheckpointError: the file is missing or damaged.
        HubError: the download failed.
        ConfigError: as OpenAIGPTConfig.from_dict.
    """
    values = config_values(path_or_id)
    is_lstm = values.get("model_type") == LSTMConfig.model_type
    return (LSTMConfig if is_lstm else OpenAIGPTConfig).from_dict(values)
