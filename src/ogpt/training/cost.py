"""What training costs: operations, memory and MFU, as pure functions of the configuration."""

from __future__ import annotations

from typing import NamedTuple

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.weights.shapes import parameter_count

LOGITS_BYTES = 8 * 2**25
"""One chunk of logits in float32 and its gradient (ogpt/model/chunked_loss.py)."""


class Lengths(NamedTuple):
    """Of the sequences that a fine-tuning trains on, for estimates."""

    mean: float
    """Tokens."""
    longest: int
    context: int
    """Longest sequence of all splits, validation and test included."""
    sequences: int
    """Most sequences of an example."""
    run_tokens: float
    """Tokens of the whole run."""


def flops_per_token(
    config: OpenAIGPTConfig, length: float, *, head: bool = True, frozen_layers: int = 0
) -> float:
    """Floating-point operations per token of one training step, forward and backward.

    Args:
        config: Configuration of the model.
        length: Tokens of a sequence.
        head: Whether the next tokens are predicted.
        frozen_layers: Blocks that are not trained. The embeddings below them are, so that the
            gradient still passes through: only the 2 per weight for its own gradient are saved.

    6 per weight that multiplies: 2 forward and 4 backward. The head counts, the embeddings do not,
    as they are looked up. Causal attention adds 12 n_layer n_embd length / 2.

    Source: Chowdhery et al. 2022 (PaLM), appendix B, without the masked half of attention, which a
    causal kernel skips. With it, MFU would credit work that is not done.
    """
    C = config.n_embd
    of_head = config.vocab_size * C if head else 0
    if isinstance(config, LSTMConfig):
        # four gates, each from the token and the state before it, and the projection
        layer = 4 * config.lstm_units * (C + config.lstm_units) + config.lstm_units * C
        return 6.0 * (layer + of_head) - 2.0 * frozen_layers * layer
    weights = config.n_layer * 12 * C * C + of_head
    saved = 2.0 * frozen_layers * 12 * C * C
    return 6.0 * weights - saved + 6.0 * config.n_layer * C * length


def training_memory_bytes(config: OpenAIGPTConfig, rows: int, length: int, narrow: bool) -> int:
    """Estimate of the peak memory of a training step, in bytes.

    Args:
        config: Configuration of the model.
        rows: Sequences of a micro-batch.
        length: Tokens of a sequence.
        narrow: Whether activations take 2 bytes instead of 4.
    """
    # weights, gradients and two moments, each in float32
    state = 16 * parameter_count(config)
    if isinstance(config, LSTMConfig):
        # what backward needs of each token: four gates and two states a unit, inputs and outputs
        values = rows * length * (6 * config.lstm_units + 4 * config.n_embd)
    else:
        # about 22 values a channel, and attention probabilities
        values = config.n_layer * rows * length * (22 * config.n_embd + config.n_head * length)
    embedding_gradient = 4 * config.vocab_size * config.n_embd
    return state + (2 if narrow else 4) * values + embedding_gradient + LOGITS_BYTES


def flops_utilization(
    tokens_per_s: float, flops_for_token: float, peak_flops_per_s: float
) -> float:
    """MFU: the share of `peak_flops_per_s` that the model's arithmetic reaches, 0 to 1."""
    return tokens_per_s * flops_for_token / peak_flops_per_s
