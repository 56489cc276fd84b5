"""Masks: what is visible in each way of masking, and positions that follow a mask."""

import pytest
import torch
from torch import Tensor

from ogpt.model.attention import AdditiveMask, causal, select_heads, visible
from ogpt.model.cache import KVCache
from ogpt.model.inputs import positions_from_mask
from tests.model.small import config, draw_ids, small

HIDDEN = torch.zeros(2, 4, 16)
MASK = torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0]]).bool()


def by_hand(mask: Tensor) -> Tensor:
    """(N, T, T): what a query may see, pair by pair."""
    N, T = mask.shape
    seen = torch.zeros(N, T, T, dtype=torch.bool)
    for n in range(N):
        for query in range(T):
            for key in range(query + 1):
                seen[n, query, key] = mask[n, key]
            if not seen[n, query].any():
                seen[n, query, query] = True
    return seen


def test_what_is_visible() -> None:
    found = visible(MASK, 4, None, HIDDEN, "boolean")
    assert torch.equal(found, by_hand(MASK)[:, None])
    three = visible(MASK[:, None].expand(2, 4, 4), 4, None, HIDDEN, "boolean")
    assert torch.equal(three, found)
    four = visible(MASK[:, None, None].expand(2, 4, 4, 4), 4, None, HIDDEN, "boolean")
    assert torch.equal(four, found.expand(2, 4, 4, 4))


def test_a_mask_that_hides_nothing_leaves_the_fast_path() -> None:
    assert visible(None, 4, None, HIDDEN, "boolean") is None
    assert visible(torch.ones(2, 4, dtype=torch.bool), 4, None, HIDDEN, "boolean") is None
    cache = KVCache(config(), 2)
    assert visible(torch.ones(2, 4, dtype=torch.bool), 4, cache, HIDDEN, "boolean") is None


def test_the_causal_mask() -> None:
    assert causal(2, 3, torch.device("cpu")).tolist() == [[True, True, False], [True] * 3]


@pytest.mark.parametrize(
    ("masking", "fill", "padding"),
    [
        ("transformers", -1e4, torch.finfo(torch.float32).min),
        ("tensorflow", -1e4, -1e4),
        ("2018", -1e9, -1e9),
    ],
)
def test_the_masks_of_others(masking: str, fill: float, padding: float) -> None:
    found = visible(MASK, 4, None, HIDDEN, masking)
    assert isinstance(found, AdditiveMask)
    assert torch.equal(found.causal, causal(4, 4, HIDDEN.device))
    assert found.fill == fill
    assert torch.equal(found.padding[:, 0, 0], (~MASK) * padding)
    plain = visible(None, 4, None, HIDDEN, masking)
    assert plain.padding is None
    half = visible(MASK, 4, None, HIDDEN.half(), "transformers")
    assert half.padding.min() == torch.finfo(torch.float16).min


@pytest.mark.parametrize("masking", ["transformers-4", "transformers-4-tf", "2018"])
def test_the_masks_of_others_in_a_cache(masking: str) -> None:
    model, ids = small(parity=masking), draw_ids(2, 6)
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])
    whole = model(ids, attention_mask=mask).logits
    cache, found = None, []
    for at in range(6):
        out = model(
            ids[:, at : at + 1],
            attention_mask=mask[:, : at + 1],
            past_key_values=cache,
            use_cache=True,
        )
        cache = out.past_key_values
        found.append(out.logits)
    kept = mask[..., None]
    assert ((torch.cat(found, 1) - whole) * kept).abs().max() < 1e-5


def test_positions_follow_the_mask() -> None:
    assert positions_from_mask(MASK, None).tolist() == [[0, 0, 0, 1], [0, 0, 1, 1]]
    places = torch.tensor([[3], [0]])
    assert positions_from_mask(MASK, places).tolist() == [[1], [0]]
    assert positions_from_mask(MASK, torch.tensor([[2, 3]])).tolist() == [[0, 1], [1, 1]]


def test_masks_of_the_heads_that_are_left() -> None:
    each = torch.arange(4)[None, :, None, None].expand(2, 4, 3, 3)
    assert select_heads(None, [0]) is None
    assert select_heads(each, [0, 1, 2, 3]) is each
    assert select_heads(each[:, :1], [2]).shape == (2, 1, 3, 3)
    assert select_heads(each, [1, 3])[0, :, 0, 0].tolist() == [1, 3]
    bare = AdditiveMask(torch.ones(3, 3).bool(), -1e4, None)
    assert select_heads(bare, [0]) is bare
    assert select_heads(bare._replace(padding=each), [2]).padding[0, :, 0, 0].tolist() == [2]
