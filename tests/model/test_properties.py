"""What must hold whatever the weights: the future, the padding and the neighbours do not matter.

Each property is a function that measures how far it is from holding; a planted fault must be far
beyond the tolerance.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ogpt.model import attention, transformer
from ogpt.model.cache import KVCache
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from tests.model.small import KINDS, apart, config, draw_ids, small

TOLERANCE = 1e-5  # float32, logits of size 10: other shapes sum in another order
MODEL = small()
T = 8

seeds = st.integers(0, 2**16)
quick = settings(max_examples=25, deadline=None)


def random_mask(kind: str, rows: int, seed: int) -> Tensor | None:
    """A mask with holes; every row may keep none at all."""
    shape = {"none": None, "2-D": (rows, T), "3-D": (rows, T, T), "4-D": (rows, 4, T, T)}[kind]
    if shape is None:
        return None
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > 0.3


def change_of_the_past(seed: int, kind: str, cut: int) -> float:
    ids, mask = draw_ids(2, T, seed=seed), random_mask(kind, 2, seed)
    other = ids.clone()
    other[:, cut:] = (other[:, cut:] + 1 + draw_ids(2, T - cut, seed=seed + 1, vocab_size=39)) % 40
    before, after = (MODEL(x, attention_mask=mask).logits[:, :cut] for x in (ids, other))
    return apart(before, after)


@quick
@given(seeds, st.sampled_from(["none", "2-D", "3-D", "4-D"]), st.integers(1, T - 1))
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_future_never_changes_the_past(
    implementation: str, seed: int, kind: str, cut: int
) -> None:
    MODEL.set_attn_implementation(implementation)
    assert change_of_the_past(seed, kind, cut) == 0.0


@pytest.mark.parametrize("kind", ["none", "2-D", "3-D", "4-D"])
def test_a_causal_mask_that_is_off_by_one_is_caught(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking(new: int, held: int, device: torch.device) -> Tensor:
        return torch.ones(new, held, dtype=torch.bool, device=device).tril(held - new + 1)

    monkeypatch.setattr(attention, "causal", leaking)
    MODEL.set_attn_implementation("eager")
    assert max(change_of_the_past(seed, kind, 4) for seed in range(4)) > 0.01
    MODEL.set_attn_implementation("sdpa")


def pad(ids: Tensor, left: int, right: int, fill: Tensor) -> tuple[Tensor, Tensor]:
    """A row (1, n) with padding of the tokens `fill`, and its mask."""
    n = ids.shape[1]
    whole = fill[:, : left + n + right].clone()
    whole[:, left : left + n] = ids
    mask = torch.zeros_like(whole)
    mask[:, left : left + n] = 1
    return whole, mask


def change_by_padding(seed: int, n: int, left: int, right: int, **asked: object) -> float:
    """Of a row by padding on both sides and by two others in its batch."""
    ids = draw_ids(1, n, seed=seed)
    row, mask = pad(ids, left, right, draw_ids(1, 16, seed=seed + 1))
    mates = draw_ids(2, row.shape[1], seed=seed + 2)
    mate_masks = torch.rand(mates.shape, generator=torch.Generator().manual_seed(seed)) > 0.5
    batch = torch.cat([mates[:1], row, mates[1:]])
    batch_mask = torch.cat([mate_masks[:1].long(), mask, mate_masks[1:].long()])
    alone = MODEL(ids).logits
    together = MODEL(batch, attention_mask=batch_mask, **asked).logits[1:2, left : left + n]
    return apart(alone, together)


@quick
@given(seeds, st.integers(1, 6), st.integers(0, 5), st.integers(0, 5))
def test_padding_and_batch_mates_change_nothing(seed: int, n: int, left: int, right: int) -> None:
    assert change_by_padding(seed, n, left, right) < TOLERANCE


def test_positions_that_count_padding_are_caught() -> None:
    shifted = torch.arange(9)  # as transformers' forward has them
    assert change_by_padding(0, 5, left=3, right=1, position_ids=shifted) > 0.01


def test_padding_that_is_seen_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "visible", lambda *given: None)
    assert change_by_padding(0, 5, left=3, right=0) > 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_padding_in_half_precision(dtype: torch.dtype) -> None:
    model = small(seed=5).to(dtype)
    ids = draw_ids(1, 5)
    row, mask = pad(ids, 3, 2, draw_ids(1, 16, seed=1))
    alone, padded = model(ids).logits, model(row, attention_mask=mask).logits[:, 3:8]
    rounding = 8 * torch.finfo(dtype).eps * alone.abs().max().item()
    assert apart(alone, padded) < rounding
    assert apart(alone, model(row).logits[:, 3:8]) > 2 * rounding


# choices


def choices(seed: int) -> dict[str, Tensor]:
    """All that has a value for each token of each choice."""
    B, K = 2, 3
    torch.manual_seed(seed)
    lengths = torch.randint(1, T + 1, (B, K, 1))
    return {
        "input_ids": draw_ids(B, K, T, seed=seed),
        "attention_mask": (torch.arange(T) < lengths).long(),
        "token_type_ids": draw_ids(B, K, T, seed=seed + 1),
        "position_ids": draw_ids(B, K, T, seed=seed + 2, vocab_size=16),
        "mc_token_ids": lengths[..., 0] - 1,
    }


def each_alone(model: OpenAIGPTDoubleHeadsModel, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    B, K = given["mc_token_ids"].shape
    outs = [
        model(**{name: value[b : b + 1, k] for name, value in given.items()})
        for b in range(B)
        for k in range(K)
    ]
    logits = torch.cat([out.logits for out in outs]).view(B, K, T, -1)
    return logits, torch.cat([out.mc_logits for out in outs]).view(B, K)


DOUBLE = small(OpenAIGPTDoubleHeadsModel, seed=1)


@quick
@given(seeds, st.sampled_from(["ids", "embeds"]), st.sampled_from(["as given", "flat", "square"]))
def test_choices_equal_each_choice_alone(seed: int, source: str, shape: str) -> None:
    given = choices(seed)
    if source == "embeds":
        given["inputs_embeds"] = torch.randn(2, 3, T, 16)
        del given["input_ids"]
    logits, scores = each_alone(DOUBLE, given)
    if shape == "flat":
        given["attention_mask"] = given["attention_mask"].view(6, T)
    elif shape == "square":  # (B, K, T, T)
        given["attention_mask"] = given["attention_mask"][..., None, :].expand(2, 3, T, T)
    found = DOUBLE(**given)
    kept = (torch.arange(T) <= given["mc_token_ids"][..., None])[..., None]
    assert apart(found.logits * kept, logits * kept) < TOLERANCE
    assert apart(found.mc_logits, scores) < TOLERANCE


@pytest.mark.parametrize("summary", ["cls_index", "last", "first", "mean"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_choices_are_independent_and_padding_does_not_count(summary: str, side: str) -> None:
    model = small(OpenAIGPTDoubleHeadsModel, seed=2, summary_type=summary)
    given = choices(7)
    del given["mc_token_ids"], given["position_ids"]
    if side == "left":
        given["attention_mask"] = given["attention_mask"].flip(-1)
    found = model(**given).mc_logits
    assert found.shape == (2, 3)
    for b in range(2):
        for k in range(3):
            kept = given["attention_mask"][b, k].bool()
            alone = {
                name: value[b, k][kept] for name, value in given.items() if name != "attention_mask"
            }
            assert apart(model(**alone).mc_logits, found[b, k]) < TOLERANCE
    changed = {name: value.clone() for name, value in given.items()}
    changed["input_ids"][0, 1] = (changed["input_ids"][0, 1] + 1) % 40
    moved = (model(**changed).mc_logits - found).abs()
    assert moved[0, 1] > 0.001
    moved[0, 1] = 0
    assert moved.max() < TOLERANCE


@pytest.mark.parametrize("shape", [(), (2,), (2, 3), (1, 2, 2)])
def test_any_shape_before_the_tokens(shape: tuple[int, ...]) -> None:
    ids = draw_ids(*shape, T)
    out = MODEL(ids, output_hidden_states=True, output_attentions=True)
    assert out.logits.shape == (*shape, T, 40)
    assert [x.shape for x in out.hidden_states] == [(*shape, T, 16)] * 3
    assert [x.shape for x in out.attentions] == [(*shape, 4, T, T)] * 2
    assert apart(out.logits.reshape(-1, T, 40), MODEL(ids.reshape(-1, T)).logits) < TOLERANCE
    typed = small(OpenAIGPTForSequenceClassification)(ids)
    assert typed.logits.shape == (*shape, 3)


@pytest.mark.parametrize("shape", [(T,), (T, T)])
def test_one_row_without_a_batch_takes_masks_without_one(shape: tuple[int, ...]) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) > 0.3
    ids = draw_ids(T)
    expected = MODEL(ids[None], attention_mask=mask[None]).logits[0]
    assert apart(MODEL(ids, attention_mask=mask).logits, expected) == 0.0


# rows without a single visible key


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_query_that_may_see_nothing_sees_itself(dtype: torch.dtype, implementation: str) -> None:
    model = small(seed=3).to(dtype)
    model.set_attn_implementation(implementation)
    ids = draw_ids(2, T)
    mask = torch.tensor([[0] * T, [0] * 3 + [1] * (T - 3)])
    out = model(ids, attention_mask=mask, output_attentions=True)
    plain = model(ids, attention_mask=mask).logits
    alone = model(ids.reshape(-1, 1)[:T], position_ids=torch.zeros(1, 1, dtype=torch.int64))
    rounding = 8 * torch.finfo(dtype).eps * 10
    assert apart(plain[0], alone.logits[:, 0]) < rounding
    assert apart(plain, out.logits) < rounding
    for probs in out.attentions:
        assert torch.equal(probs[0], torch.eye(T, dtype=dtype).expand_as(probs[0]))
        assert torch.equal(probs[1, :, :3, :3], torch.eye(3, dtype=dtype).expand(4, 3, 3))
    model.float() if dtype == torch.float16 else model
    loss = model(ids, attention_mask=mask, labels=ids).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_cache_sees_itself_too() -> None:
    ids = draw_ids(1, T)
    mask = torch.zeros(1, T, dtype=torch.int64)
    whole = MODEL(ids, attention_mask=mask).logits
    cache = KVCache(MODEL.config, 1)
    parts = [
        MODEL(ids[:, i : i + 2], attention_mask=mask[:, : i + 2], past_key_values=cache).logits
        for i in range(0, T, 2)
    ]
    assert apart(torch.cat(parts, 1), whole) < TOLERANCE


# the caller's configuration


@pytest.mark.parametrize("problem", [None, "single_label_classification"])
def test_no_model_changes_the_callers_configuration(problem: str | None) -> None:
    given = config(problem_type=problem)
    before = given.to_dict()
    ids = draw_ids(2, 5)
    for kind in KINDS:
        model = kind(given)
        model(ids, output_hidden_states=True, use_cache=True)
        if kind is not KINDS[0]:
            labels = torch.tensor([0, 1]) if kind is KINDS[3] else ids
            model(ids, labels=labels)
        model.resize_token_embeddings(50)
        model.resize_position_embeddings(20)
        model.prune_heads({0: [1]})
        assert given.to_dict() == before
    assert OpenAIGPTLMHeadModel(given).config.vocab_size == 40
