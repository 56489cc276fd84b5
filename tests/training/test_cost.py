"""The cost of a training step is that of the model that takes it."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.training.cost import flops_per_token, flops_utilization, training_memory_bytes
from ogpt.weights.shapes import parameter_count, weight_shapes


@pytest.mark.parametrize("n_layer", [1, 3])
def test_parameter_count_is_the_models(n_layer: int) -> None:
    config = OpenAIGPTConfig(vocab_size=30, n_positions=8, n_embd=12, n_layer=n_layer, n_head=2)
    assert parameter_count(config) == OpenAIGPTLMHeadModel(config).num_parameters()


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_flops_are_those_of_the_matrix_products(frozen: int) -> None:
    config = OpenAIGPTConfig(vocab_size=64, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    model = OpenAIGPTLMHeadModel(config)
    model.freeze(embeddings=False, layers=frozen)
    ids = torch.zeros(1, 32, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model.token_loss(ids, ids).backward()
    whole_attention = 6.0 * config.n_layer * config.n_embd * 32  # the counter takes both halves
    counted = counter.get_total_flops() / 32 - whole_attention
    assert counted == pytest.approx(flops_per_token(config, 32, frozen_layers=frozen), rel=0.05)
    assert counted != pytest.approx(flops_per_token(config, 32, frozen_layers=frozen + 1), rel=0.05)


def test_flops_of_an_lstm() -> None:
    """Checked against the shapes of the weights: torch's counter knows no LSTM."""
    config = LSTMConfig(vocab_size=64, n_positions=32, n_embd=16, lstm_units=40)
    matrices = sum(rows[0] * rows[1] for rows in weight_shapes(config).values() if len(rows) > 1)
    assert flops_per_token(config, 32) == 6 * matrices  # the tied head counts, not the look-up
    assert flops_per_token(config, 32, head=False) == 6 * (matrices - 64 * config.n_embd)
    saved = flops_per_token(config, 32) - flops_per_token(config, 32, frozen_layers=1)
    assert saved == 2 * (matrices - 64 * config.n_embd)
    assert flops_per_token(config, 7) == flops_per_token(config, 32)  # no attention


def test_memory_of_an_lstm() -> None:
    config = LSTMConfig(n_embd=64, lstm_units=256)
    assert training_memory_bytes(config, 1, 1, True) >= 16 * parameter_count(config)
    short, long = (training_memory_bytes(config, 8, length, False) for length in (64, 512))
    assert long - short == 4 * 8 * 448 * (6 * 256 + 4 * 64)


def test_utilization_is_a_share_of_the_peak() -> None:
    assert flops_utilization(500.0, 2.0, 4000.0) == 0.25


def test_memory_is_dominated_by_weights_for_one_short_window() -> None:
    config = OpenAIGPTConfig()
    assert training_memory_bytes(config, 1, 1, True) == pytest.approx(
        16 * parameter_count(config), rel=0.25
    )
    assert training_memory_bytes(config, 8, 512, False) > training_memory_bytes(
        config, 8, 512, True
    )
