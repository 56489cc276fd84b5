"""Inputs without attention_mask: texts packed into rows, and pad tokens at their start."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ogpt.model.unmasked import same_text
from ogpt.notices import collecting
from tests.model.small import KINDS, Kind, apart, draw_ids, small

MODEL = small()
IDS = draw_ids(2, 7)
PACKED = torch.tensor([[0, 1, 2, 0, 1, 2, 3], [0, 0, 1, 2, 3, 4, 0]])


def apart_by_text(ids: Tensor, positions: Tensor) -> Tensor:
    """The logits of each text alone."""
    rows = []
    for row, places in zip(ids, positions, strict=True):
        starts = [*(places == 0).nonzero().flatten().tolist(), len(places)]
        texts = [row[a:b] for a, b in pairwise(starts)]
        rows.append(torch.cat([MODEL(text[None]).logits[0] for text in texts]))
    return torch.stack(rows)


@pytest.mark.parametrize("eager", [False, True])
def test_packed_texts_do_not_see_each_other(eager: bool) -> None:
    expected = apart_by_text(IDS, PACKED)
    found = MODEL(IDS, position_ids=PACKED, output_attentions=eager)
    assert apart(found.logits, expected) < 1e-5
    one = MODEL(IDS, position_ids=PACKED[0]).logits  # the same for all rows
    assert apart(one, apart_by_text(IDS, PACKED[:1].expand(2, -1))) < 1e-5
    whole = torch.ones_like(IDS)
    assert apart(MODEL(IDS, position_ids=PACKED, attention_mask=whole).logits, expected) > 0.1


def test_packed_texts_learn_as_they_do_alone() -> None:
    labels = IDS.masked_fill(PACKED == 0, -100)  # the first token of a text has no prediction
    MODEL.zero_grad()
    MODEL(IDS, position_ids=PACKED, labels=labels).loss.backward()
    found = [weight.grad.clone() for weight in MODEL.parameters()]
    MODEL.zero_grad()
    logits = apart_by_text(IDS, PACKED)
    flat, targets = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    torch.nn.functional.cross_entropy(flat, targets).backward()
    for mine, weight in zip(found, MODEL.parameters(), strict=True):
        assert apart(mine, weight.grad) < 1e-5


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_packed_texts_in_one_graph(backend: str) -> None:
    """Lengths change, and position_ids come later, at every call of one compiled model."""
    torch._dynamo.reset()
    compiled = torch.compile(MODEL, fullgraph=True, backend=backend)
    for length in (7, 5, 6):
        ids, places = IDS[:, :length], PACKED[:, :length]
        assert apart(compiled(ids).logits, MODEL(ids).logits) < 1e-5
        assert apart(compiled(ids, position_ids=places).logits, apart_by_text(ids, places)) < 1e-5
        plain = torch.arange(length)
        assert apart(compiled(ids, position_ids=plain).logits, MODEL(ids).logits) < 1e-5


@pytest.mark.parametrize(
    "places",
    [
        [0, 1, 2, 3],
        [3, 0, 1, 2],  # does not start at 0
        [0, 2, 0, 1],  # leaves one out
        [0, 1, 1, 2],  # the same twice
        [5, 6, 7, 8],
        [0],
    ],
)
def test_positions_of_one_text(places: list[int]) -> None:
    assert same_text(torch.tensor([places])) is None


def test_which_tokens_are_of_one_text() -> None:
    found = same_text(torch.tensor([[0, 1, 0], [0, 1, 2], [0, 2, 0]]))
    assert found.int().tolist() == [[[1, 1, 0], [1, 1, 0], [0, 0, 1]], [[1] * 3] * 3, [[1] * 3] * 3]


def test_other_implementations_do_not_look_at_positions() -> None:
    model = small(parity="transformers-5")
    mask = torch.ones_like(IDS)
    plain = model(IDS, position_ids=PACKED, attention_mask=mask).logits
    assert torch.equal(model(IDS, position_ids=PACKED).logits, plain)


# padding


@pytest.mark.parametrize("kind", KINDS)
def test_pad_tokens_at_the_start(kind: Kind) -> None:
    model = small(kind, pad_token_id=3)
    ids = torch.tensor([[3, 3, 5, 3], [5, 6, 7, 8], [3, 3, 3, 3]])
    with collecting() as notices:
        model(ids)
    assert [notice.message for notice in notices] == [
        "there is no attention_mask: reading 2 pad tokens (3) at the start of rows as text"
    ]
    with collecting() as notices:
        model(ids, attention_mask=torch.ones_like(ids))
        model(ids[1:])  # none, and nothing but pad tokens
        model(inputs_embeds=torch.zeros(1, 2, 16))
    assert not notices


def test_pad_tokens_that_may_be_text() -> None:
    ids = torch.tensor([[3, 5, 6]])
    with collecting() as notices:
        for ends in (3, [3, 4]):
            small(pad_token_id=3, eos_token_id=ends)(ids)
        small()(ids)
        model = small(pad_token_id=3)
        cache = model(ids[:, 1:], use_cache=True).past_key_values
        model(ids, past_key_values=cache)  # a token that was generated
    assert not notices
