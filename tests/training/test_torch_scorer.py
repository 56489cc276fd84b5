"""A model in training scores continuations as a decoder does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.errors import DecoderError
from ogpt.generation.protocol.likelihood import Choices, decoder_scorer
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.evaluating import evaluating
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.training import joined_choices as scorer_module
from ogpt.training.common_prefix import with_common_prefix
from ogpt.training.torch_objective import TorchLanguageModeling
from ogpt.training.torch_scorer import torch_scorer
from ogpt.training.torch_step import TorchTrainStep

SETTINGS = TrainingSettings(threads=1, batch_size=2, micro_batch_size=2, precision="float32")
TOLERANCE = 1e-4
N_POSITIONS = 12


@pytest.fixture
def step() -> TorchTrainStep:
    torch.manual_seed(0)
    config = OpenAIGPTConfig(
        vocab_size=50,
        n_positions=N_POSITIONS,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,  # log-probabilities differ
        attn_pdrop=0.5,
        embd_pdrop=0.5,
        resid_pdrop=0.5,
    )
    return TorchTrainStep(TorchLanguageModeling(OpenAIGPTLMHeadModel(config)), SETTINGS, False)


def parts() -> list[Choices]:
    """Choices that fit together and that do not, with one token and several."""
    draw = np.random.default_rng(0)
    shapes = [(5, [2, 3, 1]), (1, [1]), (9, [1, 1]), (6, [7, 2]), (1, [12]), (12, [1]), (4, [2, 2])]
    return [
        Choices(
            draw.integers(0, 50, length).tolist(),
            [draw.integers(0, 50, size).tolist() for size in sizes],
        )
        for length, sizes in shapes
    ]


def largest_difference(step: TorchTrainStep) -> float:
    asked = parts()
    found = torch_scorer(step)(asked)
    with evaluating(step.model):
        expected = decoder_scorer(TorchDecoder(step.model, 1))(asked)  # type: ignore[arg-type]
    assert [list(map(len, each)) for each in found] == [list(map(len, part.ids)) for part in asked]
    pairs = zip(found, expected, strict=True)
    return max(
        float(np.abs(ours - theirs).max())
        for each, other in pairs
        for ours, theirs in zip(each, other, strict=True)
    )


def test_the_scores_are_those_of_a_decoder(step: TorchTrainStep) -> None:
    assert largest_difference(step) < TOLERANCE


def test_an_lstm_scores_each_choice_alone() -> None:
    torch.manual_seed(0)
    shape = {"vocab_size": 50, "n_positions": N_POSITIONS, "n_embd": 16, "lstm_units": 24}
    config = LSTMConfig(**shape, initializer_range=1.0)
    model = OpenAIGPTLMHeadModel(config)
    assert largest_difference(TorchTrainStep(TorchLanguageModeling(model), SETTINGS, False)) < (
        TOLERANCE
    )


def test_scores_follow_the_weights(step: TorchTrainStep) -> None:
    score = torch_scorer(step)
    before = score(parts())[0][0]
    with torch.no_grad():
        for weight in step.model.parameters():
            weight.mul_(0.9)
    assert np.abs(score(parts())[0][0] - before).max() > TOLERANCE


@pytest.mark.parametrize("fault", ["positions", "visible", "places"])
def test_a_planted_fault_shows(
    fault: str, step: TorchTrainStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(groups: Sequence[Sequence[list[int]]], pad_id: int) -> Any:
        made = with_common_prefix(groups, pad_id)
        if fault == "positions":  # counted on from choice to choice
            counted = np.broadcast_to(np.arange(made.ids.shape[1]), made.ids.shape)
            return made._replace(positions=counted.copy())
        if fault == "visible":  # choices see each other
            return made._replace(visible=np.ones_like(made.visible))
        shifted = [[np.maximum(where - 1, 0) for where in row] for row in made.places]
        return made._replace(places=shifted)  # unshifted labels

    monkeypatch.setattr(scorer_module, "with_common_prefix", wrong)
    assert largest_difference(step) > TOLERANCE


def test_batches_hold_a_micro_batch_and_compute_a_context_once(
    step: TorchTrainStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    forward = step.model.transformer.forward  # type: ignore[attr-defined]

    def recording(ids: torch.Tensor, **options: Any) -> Any:
        shapes.append(tuple(ids.shape))
        assert not step.model.training
        assert not torch.is_grad_enabled()
        return forward(ids, **options)

    monkeypatch.setattr(step.model.transformer, "forward", recording)  # type: ignore[attr-defined]
    torch_scorer(step)([Choices([1, 2, 3, 4], [[5, 6], [7, 8], [9]])] * 5)
    assert shapes == [(3, 8), (2, 8)]  # 3 + 2 + 2 + 1 tokens, where a micro-batch has 24
    assert step.model.training


def test_scores_that_are_not_finite(step: TorchTrainStep) -> None:
    with torch.no_grad():
        next(step.model.parameters()).fill_(torch.nan)
    with pytest.raises(DecoderError, match="allowed: finite"):
        torch_scorer(step)(parts())
