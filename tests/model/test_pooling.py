"""Pooling: which token represents a sequence, and what the summary computes from it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt.errors import ConfigError
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from tests.model.small import apart, config, draw_ids, small

# rows of mask or pad ids, and the token that stands for them; transformers 4.57 takes the same
ROWS = [
    ([1, 1, 1, 0, 0], 2),
    ([0, 0, 1, 1, 1], 4),
    ([1, 0, 1, 0, 0], 2),
    ([1, 0, 0, 0, 0], 0),
    ([0, 0, 0, 0, 0], 0),
    ([1, 1, 1, 1, 1], 4),
]
MASK = torch.tensor([row for row, _ in ROWS])
PLACES = [place for _, place in ROWS]


def scores(model: OpenAIGPTForSequenceClassification, hidden: Tensor) -> Tensor:
    """What the classifier gives where the right tokens are picked by hand."""
    return model.score(torch.stack([row[place] for row, place in zip(hidden, PLACES, strict=True)]))


def test_the_mask_says_which_token_without_a_pad_id() -> None:
    model, ids = small(OpenAIGPTForSequenceClassification), draw_ids(6, 5)
    hidden = model.transformer(ids, attention_mask=MASK).last_hidden_state
    found = model(ids, attention_mask=MASK).logits
    assert torch.equal(found, scores(model, hidden))
    assert apart(found, model.score(hidden[:, -1])) > 0.1  # the last token, whatever it is
    embeds = model.transformer.tokens_embed(ids)
    assert torch.equal(model(inputs_embeds=embeds, attention_mask=MASK).logits, found)
    model.config.pad_token_id = 7  # the mask goes before it
    assert torch.equal(model(ids, attention_mask=MASK).logits, found)


@pytest.mark.filterwarnings("ignore:there is no attention_mask")  # padded on the left
def test_the_pad_id_says_which_token_without_a_mask() -> None:
    model = small(OpenAIGPTForSequenceClassification, pad_token_id=0)
    ids = (draw_ids(6, 5, vocab_size=39) + 1) * MASK
    hidden = model.transformer(ids).last_hidden_state
    assert torch.equal(model(ids).logits, scores(model, hidden))
    square = torch.ones(6, 5, 5)  # says nothing of padding
    assert torch.equal(model(ids, attention_mask=square).logits, model(ids).logits)
    three = model(ids.view(2, 3, 5)).logits
    assert apart(three.view(6, 3), model(ids).logits) < 1e-6


def test_the_last_token_stands_for_all_without_either() -> None:
    model, ids = small(OpenAIGPTForSequenceClassification), draw_ids(6, 5)
    hidden = model.transformer(ids).last_hidden_state
    assert torch.equal(model(ids).logits, model.score(hidden[:, -1]))
    model.config.pad_token_id = 0
    embeds = model.transformer.tokens_embed(ids)
    assert torch.equal(model(inputs_embeds=embeds).logits, model.score(hidden[:, -1]))


def by_hand(summary: str, hidden: Tensor, mask: Tensor, given: Tensor) -> Tensor:
    """The pooled vector of each row, for rows that keep a token."""
    pooled = []
    for row, kept, place in zip(hidden, mask.bool(), given.tolist(), strict=True):
        tokens = row[kept]
        pooled.append(
            {
                "last": tokens[-1],
                "first": tokens[0],
                "mean": tokens.mean(0),
                "cls_index": row[place],
            }[summary]
        )
    return torch.stack(pooled)


@pytest.mark.parametrize("summary", ["last", "first", "mean", "cls_index"])
def test_every_summary_of_choices_with_padding(summary: str) -> None:
    model = small(OpenAIGPTDoubleHeadsModel, summary_type=summary)
    ids, mask = draw_ids(6, 5), MASK.clone()
    mask[4] = torch.tensor([0, 1, 1, 0, 0])
    given = torch.tensor([0, 3, 1, 0, 2, 4])
    hidden = model.transformer(ids, attention_mask=mask).last_hidden_state
    expected = model.multiple_choice_head.summary(by_hand(summary, hidden, mask, given)).view(2, 3)
    out = model(ids.view(2, 3, 5), attention_mask=mask.view(2, 3, 5), mc_token_ids=given.view(2, 3))
    assert apart(out.mc_logits, expected) < 1e-5
    whole = model(ids.view(2, 3, 5), mc_token_ids=given.view(2, 3))
    hidden = model.transformer(ids).last_hidden_state
    by_all = by_hand(summary, hidden, torch.ones_like(mask), given)
    assert apart(whole.mc_logits, model.multiple_choice_head.summary(by_all).view(2, 3)) < 1e-5


def test_mc_token_ids_come_from_the_mask_where_they_are_absent() -> None:
    model, ids = small(OpenAIGPTDoubleHeadsModel), draw_ids(2, 3, 5)
    mask = MASK.view(2, 3, 5)
    places = torch.tensor(PLACES).view(2, 3)
    expected = model(ids, attention_mask=mask, mc_token_ids=places).mc_logits
    assert torch.equal(model(ids, attention_mask=mask).mc_logits, expected)
    assert torch.equal(model(ids, attention_mask=MASK).mc_logits, expected)
    last = torch.full((2, 3), 4)
    assert torch.equal(model(ids).mc_logits, model(ids, mc_token_ids=last).mc_logits)
    assert apart(model(ids, attention_mask=mask, mc_token_ids=last).mc_logits, expected) > 0.01


ACTIVATIONS = {
    None: lambda x: x,
    "tanh": torch.tanh,
    "gelu": F.gelu,  # Hugging Face's name for the exact function
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "swish": F.silu,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(("projection", "to_labels"), [(True, True), (True, False), (False, True)])
def test_projection_and_activation(name: str | None, projection: bool, to_labels: bool) -> None:
    model = small(
        OpenAIGPTDoubleHeadsModel,
        summary_activation=name,
        summary_use_proj=projection,
        summary_proj_to_labels=to_labels,
    )
    ids = draw_ids(2, 3, 5)
    pooled = model.transformer(ids).last_hidden_state[:, :, -1]
    if projection:
        head = model.multiple_choice_head.summary
        pooled = pooled @ head.weight.T + head.bias
        pooled = pooled[..., 0] if to_labels else pooled
    found = model(ids).mc_logits
    assert found.shape == ((2, 3) if projection and to_labels else (2, 3, 16))
    assert apart(found, ACTIVATIONS[name](pooled)) < 1e-5


def test_dropout_before_and_after_the_projection() -> None:
    ids = draw_ids(2, 3, 5)
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "summary_use_proj": False}
    for name in ("summary_first_dropout", "summary_last_dropout"):
        rates = {"summary_first_dropout": 0.0, "summary_last_dropout": 0.0, name: 0.5}
        model = small(OpenAIGPTDoubleHeadsModel, **still, **rates).train()
        plain = model.transformer(ids).last_hidden_state[:, :, -1]
        found = model(ids).mc_logits
        kept = found != 0
        assert 0.2 < kept.float().mean() < 0.8
        assert apart(found, plain * kept * 2) < 1e-6
        assert apart(model.eval()(ids).mc_logits, plain) < 1e-6


@pytest.mark.parametrize("bad", [-1, 5])
def test_a_position_that_is_not_there(bad: int) -> None:
    model = OpenAIGPTDoubleHeadsModel(config())
    with pytest.raises(ConfigError, match=f"mc_token_ids holds {bad}; allowed: 0 to 4") as caught:
        model(draw_ids(1, 2, 5), mc_token_ids=torch.tensor([[0, bad]]))
    assert "from the left" in caught.value.hint


def test_positions_for_other_choices() -> None:
    model = OpenAIGPTDoubleHeadsModel(config())
    message = r"mc_token_ids has the shape \(1, 3\); allowed: \(1, 2\)"
    with pytest.raises(ConfigError, match=message) as caught:
        model(draw_ids(1, 2, 5), mc_token_ids=torch.tensor([[0, 1, 2]]))
    assert "each choice" in caught.value.hint
    with pytest.raises(ConfigError, match=r"mc_token_ids are of torch\.float32") as caught:
        model(draw_ids(1, 2, 5), mc_token_ids=torch.ones(1, 2))
    assert "ids" in caught.value.hint
