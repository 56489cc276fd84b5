"""Inputs of a model: every error names what was wrong, the value and what to do."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.errors import ConfigError, TokenOutOfRange, UnknownArgument
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import collecting
from tests.model.small import KINDS, apart, draw_ids, small

MODEL = small()
IDS = draw_ids(2, 5)


def refused(kind: type[Exception], message: str, hint: str, **given: Any) -> None:
    with pytest.raises(kind, match=message) as caught:
        MODEL(**given)
    assert hint in caught.value.hint


@pytest.mark.parametrize("shape", [(), (2, 0), (0, 5), (0,)])
def test_an_input_without_tokens(shape: tuple[int, ...]) -> None:
    message = rf"shape {re.escape(str(shape))}; allowed: \(B, T\), one token or more"
    refused(ConfigError, message, "prompt", input_ids=torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(16,), (2, 5, 15)])
def test_embeddings_of_another_width(shape: tuple[int, ...]) -> None:
    message = rf"inputs_embeds have the shape {re.escape(str(shape))}; allowed: \(B, T, 16\)"
    refused(ConfigError, message, "n_embd", inputs_embeds=torch.zeros(shape))


@pytest.mark.parametrize("name", ["input_ids", "token_type_ids", "position_ids", "labels"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.complex64])
def test_ids_that_are_no_whole_numbers(name: str, dtype: torch.dtype) -> None:
    message = f"{name} are of {dtype}; allowed: integers"
    refused(ConfigError, message, "tokenizer", **{"input_ids": IDS, name: IDS.to(dtype)})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32])
def test_every_whole_number_dtype_serves(dtype: torch.dtype) -> None:
    given = {"token_type_ids": IDS, "position_ids": IDS % 16, "labels": IDS}
    expected = MODEL(IDS, **given)
    found = MODEL(IDS.to(dtype), **{name: value.to(dtype) for name, value in given.items()})
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.loss, expected.loss)


@pytest.mark.parametrize("name", ["token_type_ids", "position_ids"])
def test_values_for_other_rows(name: str) -> None:
    message = rf"{name} has the shape \(3, 5\); allowed: \(2, 5\)"
    given = {"input_ids": IDS, name: torch.zeros(3, 5, dtype=torch.int64)}
    refused(ConfigError, message, "each token", **given)


@pytest.mark.parametrize("name", ["token_type_ids", "position_ids"])
def test_values_for_other_tokens(name: str) -> None:
    message = rf"{name} has the shape \(2, 4\); allowed: \(2, 5\)"
    refused(ConfigError, message, "each token", **{"input_ids": IDS, name: IDS[:, :4] % 16})


def test_token_types_outside_the_vocabulary() -> None:
    message = "token type id 40 was passed; allowed: 0 to 39"
    refused(TokenOutOfRange, message, "tokenizer", input_ids=IDS, token_type_ids=IDS + 40 - IDS)


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 5)])
def test_one_row_of_positions_or_types_serves_all(shape: tuple[int, ...]) -> None:
    row = torch.tensor([3, 1, 4, 1, 5])
    whole = row.expand(2, 5)
    for name in ("position_ids", "token_type_ids"):
        found = MODEL(IDS, **{name: row.expand(shape)}).logits
        assert torch.equal(found, MODEL(IDS, **{name: whole}).logits)


@pytest.mark.parametrize("odd", [-1e4, float("-inf"), 0.5, float("nan")])
def test_a_mask_of_odd_numbers(odd: float) -> None:
    mask = torch.zeros(2, 5, 5)
    mask[0, 1, 2] = odd
    message = rf"attention_mask holds {re.escape(str(odd))}; allowed: 1 .* 0"
    refused(ConfigError, message, "mask == 0", input_ids=IDS, attention_mask=mask)


SEEN = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(3)) > 0.4
LEFT = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
LOWEST = [float("-inf"), torch.finfo(torch.float32).min, -1e9, -1e4, -1000.0]


@pytest.mark.parametrize("low", LOWEST)
def test_an_additive_mask(low: float) -> None:
    expected = MODEL(IDS, attention_mask=SEEN).logits
    additive = torch.zeros(2, 1, 5, 5).masked_fill(~SEEN, low)
    assert torch.equal(MODEL(IDS, attention_mask=additive).logits, expected)
    causal = torch.ones(5, 5).tril().bool()  # as other libraries pass it: combined
    both = torch.zeros(2, 1, 5, 5).masked_fill(~(SEEN & causal), low)
    assert torch.equal(MODEL(IDS, attention_mask=both).logits, expected)
    heads = additive.expand(2, 4, 5, 5)
    assert torch.equal(MODEL(IDS, attention_mask=heads).logits, expected)
    assert apart(MODEL(IDS).logits, expected) > 0.1


@pytest.mark.parametrize("low", LOWEST)
@pytest.mark.parametrize("kind", KINDS)
def test_an_additive_mask_of_padding(kind: type[OpenAIGPTModel], low: float) -> None:
    """(B, 1, 1, S) has one value for each token: positions and pooling follow it."""
    model = small(kind)
    expected = model(IDS, attention_mask=LEFT)[0]
    for four in (LEFT, torch.zeros(2, 5).masked_fill(~LEFT, low), LEFT.float(), LEFT.long()):
        assert torch.equal(model(IDS, attention_mask=four[:, None, None])[0], expected)
    cache = MODEL(IDS[:, :4], attention_mask=LEFT[:, :4], use_cache=True).past_key_values
    step = torch.zeros(2, 5).masked_fill(~LEFT, low)[:, None, None]
    out = MODEL(IDS[:, 4:], attention_mask=step, past_key_values=cache)
    assert apart(out.logits, MODEL(IDS, attention_mask=LEFT).logits[:, 4:]) < 1e-5


def test_an_additive_mask_that_hides_nothing() -> None:
    for shape in ((2, 1, 5, 5), (1, 1, 5, 5), (2, 1, 1, 5), (1, 1, 1, 5)):
        found = MODEL(IDS, attention_mask=torch.zeros(shape)).logits
        assert torch.equal(found, MODEL(IDS).logits)
    compiled = torch.compile(MODEL, backend="eager", fullgraph=True)
    for mask in (torch.zeros(2, 1, 5, 5), SEEN.float(), torch.zeros(2, 1, 5, 5).where(SEEN, -1e9)):
        found, expected = compiled(IDS, attention_mask=mask), MODEL(IDS, attention_mask=mask)
        assert apart(found.logits, expected.logits) < 1e-6


@pytest.mark.parametrize("odd", [-0.5, -999.0, float("nan")])
def test_biases_of_scores(odd: float) -> None:
    mask = torch.zeros(2, 1, 5, 5)
    mask[0, 0, 1, 0] = odd
    message = rf"attention_mask adds {odd} to a score; allowed: 0 .* -1000.0 or less"
    refused(ConfigError, message, "True and False", input_ids=IDS, attention_mask=mask)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float32, torch.float16])
def test_a_mask_of_any_dtype(dtype: torch.dtype) -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    expected = MODEL(IDS, attention_mask=mask).logits
    assert torch.equal(MODEL(IDS, attention_mask=mask.to(dtype)).logits, expected)


def test_masks_of_more_axes() -> None:
    """(B, T, S) is one for all heads; of 4 axes the first two may be 1."""
    mask = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(0)) > 0.3
    expected = MODEL(IDS, attention_mask=mask).logits
    for shape in [(2, 1, 5, 5), (1, 4, 5, 5), (2, 4, 5, 5)]:
        assert torch.equal(MODEL(IDS, attention_mask=mask.expand(shape)).logits, expected)
    assert torch.equal(MODEL(IDS, attention_mask=mask[0]).logits, expected)
    assert torch.equal(MODEL(IDS, attention_mask=mask[0].expand(2, 5, 5)).logits, expected)


def test_a_mask_for_each_head() -> None:
    """Only the masked head changes: the others see what they saw."""
    mask = torch.ones(2, 4, 5, 5, dtype=torch.bool)
    mask[:, 1, :, 0] = False
    found = MODEL(IDS, attention_mask=mask, output_attentions=True).attentions[0]
    plain = MODEL(IDS, output_attentions=True).attentions[0]
    for head in (0, 2, 3):
        assert torch.equal(found[:, head], plain[:, head])
    assert not found[:, 1, 1:, 0].any()
    assert torch.equal(found[:, 1, 0, 0], torch.ones(2))  # it may see nothing else


@pytest.mark.parametrize("shape", [(3,), (2, 3), (3, 4), (2, 4, 1)])
def test_a_head_mask_of_another_shape(shape: tuple[int, ...]) -> None:
    message = rf"head_mask has the shape {re.escape(str(shape))}; allowed: \(4,\) or \(2, 4\)"
    refused(ConfigError, message, "each head", input_ids=IDS, head_mask=torch.ones(shape))


def test_head_masks() -> None:
    ones = torch.ones(4)
    assert torch.equal(MODEL(IDS, head_mask=ones).logits, MODEL(IDS).logits)
    mask = torch.tensor([1.0, 0.0, 1.0, 0.5])
    both = torch.stack([mask, mask])
    expected = MODEL(IDS, head_mask=both)
    assert torch.equal(MODEL(IDS, head_mask=mask).logits, expected.logits)
    eager = MODEL(IDS, head_mask=mask, output_attentions=True)
    assert apart(eager.logits, expected.logits) < 1e-5
    assert not eager.attentions[0][:, 1].any()
    whole = MODEL(IDS, output_attentions=True)
    for out in (eager, whole):  # how the logits depend on what is returned
        for found in torch.autograd.grad(out.logits.square().sum(), out.attentions):
            assert found.any()
    assert apart(MODEL(IDS).logits, expected.logits) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_that_no_model_has(kind: type[OpenAIGPTModel]) -> None:
    model = small(kind)
    hints = {
        "attention_masks": "attention_mask",
        "past": "past_key_values",
        "output_attention": "output_attentions",
    }
    if kind is not OpenAIGPTModel:
        hints["lm_labels"] = "labels"
    if kind is OpenAIGPTLMHeadModel:
        hints["logit_to_keep"] = "logits_to_keep"
        hints["shift_label"] = "shift_labels"
    if kind is OpenAIGPTDoubleHeadsModel:
        hints["multiple_choice_token_ids"] = "mc_token_ids"
    for wrong, right in hints.items():
        message = rf"there is no argument {wrong}; allowed: .*\b{right}\b"
        with pytest.raises(UnknownArgument, match=message) as caught:
            model(IDS, **{wrong: 1})
        assert caught.value.hint == f"did you mean {right}?"
    with pytest.raises(UnknownArgument, match="no argument xyzzy") as caught:
        model(IDS, xyzzy=None)
    assert "forward" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_arguments_are_left_out_where_parity_asks(kind: type[OpenAIGPTModel]) -> None:
    model = small(kind, parity="transformers-5")
    with collecting() as notices:
        model(IDS, lm_labels=IDS, b=1, output_hidden_states=True)
    assert [notice.kind for notice in notices] == ["arguments-ignored"]
    assert notices[0].fields == {"names": "b, lm_labels"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_reaches_the_transformer(kind: type[OpenAIGPTModel]) -> None:
    given = {
        "head_mask": torch.tensor([1.0, 0.0, 1.0, 1.0]),
        "past_key_values": None,
        "use_cache": True,
        "output_attentions": True,
        "output_hidden_states": True,
    }
    out = small(kind)(IDS, **given)
    assert out.past_key_values.get_seq_length() == 5
    assert len(out.hidden_states) == 3
    assert not out.attentions[0][:, 1].any()


# shapes that hold as many numbers as the right one


def test_shapes_of_the_same_size_are_not_taken() -> None:
    ids = torch.randint(0, 40, (2, 3, 5))
    double = OpenAIGPTDoubleHeadsModel(small().config).eval()
    places = torch.tensor([[4, 3, 2], [1, 0, 4]])
    with pytest.raises(ConfigError, match=r"mc_token_ids has the shape \(3, 2\)"):
        double(ids, mc_token_ids=places.t())
    for name in ("labels", "token_type_ids", "position_ids"):
        with pytest.raises(ConfigError, match=rf"{name} has the shape \(3, 2, 5\); allowed"):
            double(ids, **{name: torch.zeros(3, 2, 5, dtype=torch.int64)})
    with pytest.raises(ConfigError, match=r"labels has the shape \(5,\); allowed: \(2, 3, 5\)"):
        double(ids, labels=torch.zeros(5, dtype=torch.int64))
    with pytest.raises(
        ConfigError, match=r"mc_labels were passed with an input of the shape \(5,\)"
    ):
        double(ids[0, 0], mc_labels=torch.tensor(0))


def test_labels_of_a_regression_in_another_order() -> None:
    config = small().config.copy()
    config.update({"num_labels": 3, "problem_type": "regression"})
    model = OpenAIGPTForSequenceClassification(config).eval()
    with pytest.raises(ConfigError, match=r"\(3, 2\); allowed for regression: \(2, 3\)") as caught:
        model(torch.zeros(2, 4, dtype=torch.int64), labels=torch.rand(3, 2))
    assert "each label" in caught.value.hint


@pytest.mark.parametrize("name", ["input_ids", "inputs_embeds", "attention_mask", "token_type_ids"])
@pytest.mark.parametrize("value", [[[1, 2]], np.ones((1, 2), np.int64), {"input_ids": 1}])
def test_what_is_no_tensor(name: str, value: object) -> None:
    given = {"input_ids": torch.tensor([[1, 2]]), name: value}
    if name == "inputs_embeds":
        del given["input_ids"]
    with pytest.raises(ConfigError, match=rf"{name} is a \w+; allowed: a torch\.Tensor") as caught:
        small()(**given)
    assert "return_tensors" in caught.value.hint


def test_other_things_that_are_no_tensors() -> None:
    ids = torch.tensor([[1, 2]])
    with pytest.raises(ConfigError, match=r"head_mask is a list; allowed: a torch\.Tensor"):
        small()(ids, head_mask=[None, None])
    with pytest.raises(ConfigError, match="past_key_values is a tuple; allowed: an earlier") as bad:
        small()(ids, past_key_values=())
    assert "use_cache=True" in bad.value.hint
    with pytest.raises(ConfigError, match="logits_to_keep holds 9; allowed: -2 to 1") as caught:
        small()(ids, logits_to_keep=torch.tensor([9]))
    assert "number" in caught.value.hint
