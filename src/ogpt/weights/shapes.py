"""Names and shapes of a model's weights, derived from its configuration."""

from __future__ import annotations

import math

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.weights.names import PREFIX

BARE = ("OpenAIGPTModel", "LSTMModel")
"""Class names of models without a head, one for each network."""

WITH_HEAD = (
    "OpenAIGPTLMHeadModel",
    "OpenAIGPTDoubleHeadsModel",
    "OpenAIGPTForSequenceClassification",
)
"""Class names of models with a head, for both networks."""

ARCHITECTURES = (*BARE, *WITH_HEAD)
"""Class names of all models."""

BLOCK_MATRICES = (
    "attn.c_attn.weight",
    "attn.c_proj.weight",
    "mlp.c_fc.weight",
    "mlp.c_proj.weight",
)
"""Name endings of the matrices of a block, which are (in, out)."""

Shapes = dict[str, tuple[int, ...]]


def architecture_of(config: OpenAIGPTConfig) -> str:
    """Return the class that the configuration names, or the language model if it names none."""
    name = (config.architectures or ["OpenAIGPTLMHeadModel"])[0].removeprefix("TF")
    if isinstance(config, LSTMConfig) and name not in BARE:
        return name.replace("LSTM", "OpenAIGPT", 1)
    return name


def written_architecture(config: OpenAIGPTConfig, architecture: str) -> str:
    """Return the name of a class in config.json, field `architectures`.

    The models with a head are the same classes for both networks. Those of an LSTM are written as
    LSTMLMHeadModel and so on: a program that reads this field alone must not take it for a GPT-1.
    """
    is_lstm = isinstance(config, LSTMConfig)
    return architecture.replace("OpenAIGPT", "LSTM", 1) if is_lstm else architecture


def weight_shapes(config: OpenAIGPTConfig, architecture: str = "OpenAIGPTLMHeadModel") -> Shapes:
    """List the weights that a file of the model contains: name -> shape, tied weights once.

    Args:
        config: Configuration of the model.
        architecture: One of ARCHITECTURES.

    Raises:
        ConfigError: an unknown architecture, or that of another network.
    """
    allowed = (BARE[isinstance(config, LSTMConfig)], *WITH_HEAD)
    if architecture not in allowed:
        raise ConfigError(
            f"architectures is {architecture!r}; allowed: {', '.join(allowed)}",
            hint="fix architectures in config.json",
        )
    network = _lstm(config) if isinstance(config, LSTMConfig) else _transformer(config)
    if architecture in BARE:
        return network
    shapes = {f"{PREFIX}.{name}": shape for name, shape in network.items()}
    return shapes | _heads(config, architecture)


def _transformer(config: OpenAIGPTConfig) -> Shapes:
    n_embd = config.n_embd
    shapes: Shapes = {
        "tokens_embed.weight": (config.vocab_size, n_embd),
        "positions_embed.weight": (config.n_positions, n_embd),
    }
    for layer in range(config.n_layer):
        heads = config.n_head - len(config.pruned_heads.get(layer, ()))
        block = block_shapes(n_embd, heads * n_embd // config.n_head)
        shapes |= {f"h.{layer}.{name}": shape for name, shape in block.items()}
    return shapes


def _lstm(config: LSTMConfig) -> Shapes:
    n_embd, units = config.n_embd, config.lstm_units
    return {
        "tokens_embed.weight": (config.vocab_size, n_embd),
        "h.0.lstm.weight_ih_l0": (4 * units, n_embd),
        "h.0.lstm.weight_hh_l0": (4 * units, units),
        "h.0.lstm.bias_ih_l0": (4 * units,),
        "h.0.lstm.bias_hh_l0": (4 * units,),
        "h.0.projection.weight": (n_embd, units),
        "h.0.projection.bias": (n_embd,),
    }


def parameter_count(config: OpenAIGPTConfig, architecture: str = "OpenAIGPTLMHeadModel") -> int:
    """Return the number of parameters of the model; tied weights count once."""
    return sum(map(math.prod, weight_shapes(config, architecture).values()))


def block_shapes(n_embd: int, kept: int) -> Shapes:
    """List the weights of a block, without prefix and in the order of OpenAI's files.

    Args:
        n_embd: Width of the model.
        kept: Channels of the attention: n_embd, or less if heads were pruned.
    """
    return {
        "attn.c_attn.weight": (n_embd, 3 * kept),
        "attn.c_attn.bias": (3 * kept,),
        "attn.c_proj.weight": (kept, n_embd),
        "attn.c_proj.bias": (n_embd,),
        "ln_1.weight": (n_embd,),
        "ln_1.bias": (n_embd,),
        "mlp.c_fc.weight": (n_embd, 4 * n_embd),
        "mlp.c_fc.bias": (4 * n_embd,),
        "mlp.c_proj.weight": (4 * n_embd, n_embd),
        "mlp.c_proj.bias": (n_embd,),
        "ln_2.weight": (n_embd,),
        "ln_2.bias": (n_embd,),
    }


def _heads(config: OpenAIGPTConfig, architecture: str) -> Shapes:
    """List the weights of the heads."""
    n_embd = config.n_embd
    shapes: Shapes = {}
    if architecture == "OpenAIGPTForSequenceClassification":
        shapes["score.weight"] = (config.num_labels, n_embd)
        if config.classifier_bias:
            shapes["score.bias"] = (config.num_labels,)
        return shapes
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, n_embd)
    if architecture == "OpenAIGPTDoubleHeadsModel" and config.summary_use_proj:
        rows = 1 if config.summary_proj_to_labels else n_embd
        shapes["multiple_choice_head.summary.weight"] = (rows, n_embd)
        shapes["multiple_choice_head.summary.bias"] = (rows,)
    return shapes
