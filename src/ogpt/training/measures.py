"""The numbers that training prints, as pure functions."""

from __future__ import annotations

import math

from ogpt.config.model import OpenAIGPTConfig


def parameter_count(config: OpenAIGPTConfig) -> int:
    """Weights of the transformer and its tied head."""
    C = config.n_embd
    block = 12 * C * C + 13 * C  # attention 4 C^2, MLP 8 C^2; biases 9 C, norms 4 C
    return (config.vocab_size + config.n_positions) * C + config.n_layer * block


def flops_per_token(config: OpenAIGPTConfig, length: int) -> float:
    """Floating-point operations of one training step for one token, forward and backward.

    Six for each weight that multiplies (the head included, embeddings are looked up), and
    12 n_layer n_embd length / 2 for causal attention.

    Source: Chowdhery et al. 2022 (PaLM), appendix B, with the masked half of attention left out.
    """
    C = config.n_embd
    weights = config.n_layer * 12 * C * C + config.vocab_size * C
    return 6.0 * weights + 6.0 * config.n_layer * C * length


def training_memory_bytes(config: OpenAIGPTConfig, windows: int, length: int, narrow: bool) -> int:
    """Estimate of the memory of a training step, in bytes.

    Weights, gradients and two moments in float32; for each token of a micro-batch what backward
    needs (about 22 values a channel and the attention probabilities), in 2 or 4 bytes; one chunk of
    logits.
    """
    tokens = windows * length
    value_bytes = 2 if narrow else 4
    kept = config.n_layer * tokens * (22 * config.n_embd + config.n_head * length)
    embedding = config.vocab_size * config.n_embd
    return 16 * parameter_count(config) + value_bytes * kept + 4 * embedding + 8 * 2**25


def perplexity(loss: float) -> float:
    """Exp of a loss in nats; infinite where that overflows."""
    return math.exp(loss) if loss < 700 else math.inf


def bits_per_byte(loss: float, tokens: int, text_bytes: int) -> float:
    """Bits for each UTF-8 byte of the text whose `tokens` tokens cost `loss` nats each."""
    return loss * tokens / math.log(2) / text_bytes


def flops_utilisation(
    tokens_per_s: float, flops_for_token: float, peak_flops_per_s: float
) -> float:
    """MFU: the share of `peak_flops_per_s` that the model's arithmetic reaches."""
    return tokens_per_s * flops_for_token / peak_flops_per_s
