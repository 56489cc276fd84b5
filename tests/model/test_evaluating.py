"""Evaluation mode for a while: every module gets its own mode back."""

import pytest
from torch import nn

from ogpt.model.evaluating import evaluating
from tests.model.small import small


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def partly_frozen() -> nn.Module:
    model = small().train()
    model.transformer.h[0].eval()
    model.transformer.h[1].mlp.eval()
    return model


def test_submodules_keep_their_modes() -> None:
    model = partly_frozen()
    before = modes(model)
    assert set(before.values()) == {True, False}
    with evaluating(model):
        assert not any(modes(model).values())
    assert modes(model) == before


def test_submodules_keep_their_modes_after_an_error() -> None:
    model = partly_frozen()
    before = modes(model)
    with pytest.raises(ZeroDivisionError), evaluating(model):
        raise ZeroDivisionError
    assert modes(model) == before


def test_a_model_in_evaluation_mode_stays_in_it() -> None:
    model = small()
    model.transformer.h[0].train()
    before = modes(model)
    with evaluating(model):
        pass
    assert modes(model) == before
