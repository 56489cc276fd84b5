"""Names and shapes of a model's weights, derived from its configuration."""

from __future__ import annotations

import math

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.weights.names import PREFIX

ARCHITECTURES = (
    "OpenAIGPTModel",
    "OpenAIGPTLMHeadModel",
    "OpenAIGPTDoubleHeadsModel",
    "OpenAIGPTForSequenceClassification",
)
"""Allowed class names in config.json, field `architectures`."""

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
    return (config.architectures or ["OpenAIGPTLMHeadModel"])[0].removeprefix("TF")


def weight_shapes(config: OpenAIGPTConfig, architecture: str = "OpenAIGPTLMHeadModel") -> Shapes:
    """List the weights that a file of the model contains: name -> shape, tied weights once.

    Args:
        config: Configuration of the model.
        architecture: One of ARCHITECTURES.

    Raises:
        ConfigError: an unknown architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ConfigError(
            f"architectures is {architecture!r}; allowed: {', '.join(ARCHITECTURES)}",
            hint="fix architectures in config.json",
        )
    n_embd = config.n_embd
    transformer: Shapes = {
        "tokens_embed.weight": (config.vocab_size, n_embd),
        "positions_embed.weight": (config.n_positions, n_embd),
    }
    pruned = config.pruned_heads
    for layer in range(config.n_layer):
        heads = config.n_head - len(pruned.get(layer, ()))
        block = block_shapes(n_embd, heads * n_embd // config.n_head)
        transformer |= {f"h.{layer}.{name}": shape for name, shape in block.items()}
    if architecture == "OpenAIGPTModel":
        return transformer
    shapes = {f"{PREFIX}.{name}": shape for name, shape in transformer.items()}
    return shapes | _heads(config, architecture)


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
