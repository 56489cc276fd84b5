"""Attention of one token: that of the model, from the PyTorch decoder and from a slot of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.errors import ConfigError, ContextTooLong, DecoderError, OgptError, TokenOutOfRange
from ogpt.generation.protocol.decoder import AttentionDecoder, Attentions, Part
from ogpt.model.decoder.packed_weights import pack_weights
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.serving.borrowed_slot import BorrowedSlot
from tests.decoding.contract import SIZES, TEXTS
from tests.model.lstms import lstm
from tests.model.parity import random_model

LIMIT = 1e-5


def made(pruned: bool = False) -> Any:
    model = random_model(3, **SIZES)
    if pruned:
        model.prune_heads({0: [1]})
    return model


def of_model(model: Any, ids: list[int]) -> list[np.ndarray]:
    """For each layer (heads, T): the attention of the last token in a pass over the whole text."""
    with torch.no_grad():
        out = model.transformer(torch.tensor([ids]), output_attentions=True)
    return [layer[0, :, -1].numpy() for layer in out.attentions]


def apart(found: Attentions, expected: list[np.ndarray]) -> float:
    """The largest difference."""
    assert [layer.shape for layer in found] == [layer.shape for layer in expected]
    pairs = zip(found, expected, strict=True)
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def whole(model: Any) -> tuple[AttentionDecoder, int]:
    """A decoder whose first slot holds another text, and an empty slot."""
    decoder = TorchDecoder(model, 3)
    decoder.run([Part(0, TEXTS[0][:7])])
    return decoder, 2


def packed(model: Any) -> tuple[AttentionDecoder, int]:
    return TorchDecoder(pack_weights(model), 1), 0


def lent(model: Any) -> tuple[AttentionDecoder, int]:
    """A slot of such a decoder, with calls of at most 4 tokens."""
    decoder, slot = whole(model)
    return BorrowedSlot(decoder, slot, 4, lambda: None), 0


@pytest.mark.parametrize("opened", [whole, packed, lent])
@pytest.mark.parametrize("pruned", [False, True], ids=["", "pruned"])
def test_attention_is_that_of_the_model(
    opened: Callable[[Any], tuple[AttentionDecoder, int]], pruned: bool
) -> None:
    decoder, slot = opened(made(pruned))
    assert decoder.abilities.attentions
    ids = TEXTS[1][:21]
    decoder.run([Part(slot, ids[:-1], "none")])
    found = decoder.attend(slot, ids[-1])
    expected = of_model(made(pruned), ids)
    assert apart(found, expected) < LIMIT
    assert [layer.shape for layer in found] == [(2 if pruned else 3, 21), (3, 21)]
    for layer in found:
        np.testing.assert_allclose(layer.sum(1), 1, atol=1e-6)
    # a fault: an earlier token moved by one
    assert apart(found, of_model(made(pruned), [*ids[1:-1], ids[0], ids[-1]])) > 100 * LIMIT
    # the token was appended, and what follows is as it would be
    assert decoder.length(slot) == 21
    kept = [layer.copy() for layer in found]
    logits = decoder.run([Part(slot, TEXTS[1][21:22])]).logits
    with torch.no_grad():
        whole_text = made(pruned)(torch.tensor([TEXTS[1][:22]])).logits[0, -1:].numpy()
    np.testing.assert_allclose(logits, whole_text, atol=1e-4)
    assert apart(found, kept) == 0
    # a text of one token attends to itself
    decoder.free(slot)
    assert all((layer == 1).all() for layer in decoder.attend(slot, ids[0]))


@pytest.mark.parametrize("opened", [whole, lent])
@pytest.mark.parametrize(
    ("slot", "token_id", "error", "match"),
    [
        (None, 131, TokenOutOfRange, "token id 131 at place 0; allowed: 0 to 130"),
        (3, 1, DecoderError, r"\[3\]; allowed: 0 to"),
        (None, 1, ContextTooLong, "40 positions are in use and 1 tokens follow"),
    ],
)
def test_refusals_change_nothing(
    opened: Callable[[Any], tuple[AttentionDecoder, int]],
    slot: int | None,
    token_id: int,
    error: type[OgptError],
    match: str,
) -> None:
    decoder, own = opened(made())
    decoder.run([Part(own, [1] * 40)])
    if error is not ContextTooLong:
        decoder.truncate(own, 5)
    held = decoder.length(own)
    with pytest.raises(error, match=match):
        decoder.attend(own if slot is None else slot, token_id)
    assert decoder.length(own) == held


def test_an_lstm_has_no_attention() -> None:
    decoder = TorchDecoder(lstm(seed=3, n_positions=40, vocab_size=131, n_embd=48), 1)
    assert not decoder.abilities.attentions
    with pytest.raises(ConfigError, match="output_attentions was passed"):
        decoder.attend(0, 1)
    assert decoder.length(0) == 0
