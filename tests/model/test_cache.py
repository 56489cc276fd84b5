"""The KV cache: tokens processed in parts give the same logits as all at once."""

import pytest
import torch
from torch import Tensor

from ogpt.errors import ConfigError, ContextTooLong
from ogpt.model.cache import KVCache
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from tests.model.small import apart, draw_ids, small

T = 12
MODEL = small()
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.15}  # of logits of size 10
CHUNKS = {"whole": [12], "chunks": [5, 1, 4, 2], "tokens": [1] * 12}


def in_parts(model, ids: Tensor, sizes: list[int], mask: Tensor | None = None) -> Tensor:  # type: ignore[no-untyped-def]
    """Logits (B, T, V), read part by part."""
    cache, found, read = None, [], 0
    for size in sizes:
        out = model(
            ids[:, read : read + size],
            attention_mask=None if mask is None else mask[:, : read + size],
            past_key_values=cache,
            use_cache=True,
        )
        cache, read = out.past_key_values, read + size
        assert cache.get_seq_length() == read
        found.append(out.logits)
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("sizes", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("masked", ["no mask", "ones", "left padding", "holes"])
def test_cached_equals_uncached(dtype: torch.dtype, sizes: list[int], masked: str) -> None:
    model, ids = small(seed=4).to(dtype), draw_ids(3, T)
    mask = {
        "no mask": None,
        "ones": torch.ones(3, T),
        "left padding": (torch.arange(T) >= torch.tensor([[0], [3], [6]])).long(),
        "holes": torch.rand(3, T, generator=torch.Generator().manual_seed(0)) > 0.4,
    }[masked]
    whole = model(ids, attention_mask=mask).logits
    kept = torch.ones(3, T) if mask is None else mask
    found = in_parts(model, ids, sizes, mask)
    assert apart(found * kept[..., None], whole * kept[..., None]) < TOLERANCE[dtype]


@pytest.mark.parametrize("fault", ["position", "mask", "row"])
def test_the_tolerance_catches_a_fault(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = draw_ids(3, T)
    mask = (torch.arange(T) >= torch.tensor([[0], [3], [6]])).long()
    whole = MODEL(ids, attention_mask=mask).logits
    if fault == "position":
        monkeypatch.setattr(
            "ogpt.model.transformer.positions_from_mask", lambda mask, columns: columns
        )
    elif fault == "mask":
        monkeypatch.setattr("ogpt.model.transformer.visible", lambda *given: given[2].allowed(1))
    else:
        update = KVCache.update

        def forgetful(cache: KVCache, layer: int, key: Tensor, value: Tensor) -> object:
            return update(cache, layer, key.roll(1, 0), value.roll(1, 0))

        monkeypatch.setattr(KVCache, "update", forgetful)
    found = in_parts(MODEL, ids, CHUNKS["tokens"], mask)
    assert apart(found[:, 7:], whole[:, 7:]) > 10 * max(TOLERANCE.values())


def rows_of_mixed_lengths(seed: int = 0) -> tuple[KVCache, list[Tensor]]:
    """A cache of four rows that hold 3, 0, 5 and 1 tokens, and these."""
    cache = KVCache(MODEL.config, 4)
    held = [draw_ids(1, n, seed=seed + n) if n else draw_ids(1, 1)[:, :0] for n in (3, 0, 5, 1)]
    for row, ids in enumerate(held):
        if ids.shape[1]:
            cache.active = [row]
            MODEL(ids, past_key_values=cache)
    return cache, held


@pytest.mark.parametrize("active", [[0, 1, 2, 3], [1, 2], [2, 0], [3]])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_rows_of_mixed_lengths(active: list[int], count: int, masked: bool) -> None:
    cache, held = rows_of_mixed_lengths()
    cache.active = active
    new = draw_ids(len(active), count, seed=9)
    mask = None
    if masked:  # 1 for what each row holds; what lies beyond a row's end is not asked for
        mask = torch.ones(len(active), cache.get_seq_length() + count)
    found = MODEL(new, attention_mask=mask, past_key_values=cache).logits
    for place, row in enumerate(active):
        whole = torch.cat([held[row], new[place : place + 1]], dim=1)
        assert apart(MODEL(whole).logits[0, -count:], found[place]) < 1e-5
        assert cache.lengths[row] == whole.shape[1]


def test_a_masked_row_of_another_length_sees_itself() -> None:
    cache, _ = rows_of_mixed_lengths()
    cache.active = [0, 1]
    new = draw_ids(2, 2, seed=9)
    mask = torch.ones(2, 5, dtype=torch.int64)
    mask[1] = 0  # the row that holds nothing: its tokens stand in columns 0 and 1
    found = MODEL(new, attention_mask=mask, past_key_values=cache).logits
    alone = MODEL(new[1:], attention_mask=torch.zeros(1, 2)).logits
    assert apart(found[1:], alone) < 1e-5


def test_pooling_in_rows_of_mixed_lengths() -> None:
    model = small(OpenAIGPTForSequenceClassification)
    cache, new = KVCache(model.config, 2), draw_ids(2, 2, seed=5)
    cache.active = [0]
    held = draw_ids(1, 3)
    model(held, past_key_values=cache)
    cache.active = [0, 1]
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]])
    found = model(new, attention_mask=mask, past_key_values=cache).logits
    assert apart(found[:1], model(torch.cat([held, new[:1]], 1)).logits) < 1e-5
    assert apart(found[1:], model(new[1:, :1]).logits) < 1e-5


def test_gradients_through_rows_of_mixed_lengths() -> None:
    """Those of the new tokens; what a cache holds already has none."""

    def gradient(active: list[int]) -> list[Tensor]:
        cache, _ = rows_of_mixed_lengths()
        cache.active = active
        MODEL.zero_grad()
        MODEL(
            draw_ids(4, 3, seed=9)[active], past_key_values=cache
        ).logits.square().sum().backward()
        return [parameter.grad.clone() for parameter in MODEL.parameters()]

    single = [gradient([row]) for row in range(4)]
    for together, *alone in zip(gradient([0, 1, 2, 3]), *single, strict=True):
        size = together.abs().max().item()
        assert apart(together, torch.stack(alone).sum(0)) < 1e-4 * max(size, 1.0)
    for together, one, other in zip(gradient([2, 0]), single[0], single[2], strict=True):
        assert apart(together, one + other) < 1e-4 * max(together.abs().max().item(), 1.0)


def test_reorder_copy_and_crop() -> None:
    ids, more = draw_ids(3, 5), draw_ids(3, 2, seed=1)
    cache = KVCache(MODEL.config, 3)
    MODEL(ids, past_key_values=cache)
    order = torch.tensor([2, 0, 0])
    cache.reorder_cache(order)
    found = MODEL(more, past_key_values=cache).logits
    assert apart(found, MODEL(torch.cat([ids[order], more], 1)).logits[:, 5:]) < 1e-5
    assert apart(found, MODEL(torch.cat([ids, more], 1)).logits[:, 5:]) > 0.1  # not reordered
    cache.crop(4)
    assert cache.get_seq_length() == 4
    again = MODEL(more, past_key_values=cache).logits
    assert apart(again, MODEL(torch.cat([ids[order, :4], more], 1)).logits[:, 4:]) < 1e-5
    cache.crop(-5)  # as in transformers: this many fewer
    assert cache.lengths == [1, 1, 1]
    cache.crop(-5)
    assert cache.lengths == [0, 0, 0]
    cache.active = [1]
    MODEL(ids[:1], past_key_values=cache)
    cache.copy(1, 2)
    cache.active = [2]
    found = MODEL(more[:1], past_key_values=cache).logits
    assert apart(found, MODEL(torch.cat([ids[:1], more[:1]], 1)).logits[:, 5:]) < 1e-5


def test_reorder_moves_rows_of_other_lengths() -> None:
    cache, held = rows_of_mixed_lengths()
    cache.reorder_cache(torch.tensor([2, 0, 1, 3]))
    assert cache.lengths == [5, 3, 0, 1]
    cache.active = [0, 1]
    new = draw_ids(2, 1, seed=3)
    found = MODEL(new, past_key_values=cache).logits
    for place, row in enumerate([2, 0]):
        whole = torch.cat([held[row], new[place : place + 1]], dim=1)
        assert apart(MODEL(whole).logits[:, -1:], found[place : place + 1]) < 1e-5


def test_choices_and_one_row_take_a_cache() -> None:
    model = small(OpenAIGPTDoubleHeadsModel)
    ids = draw_ids(2, 3, 6)
    first = model(ids[..., :4], use_cache=True)
    second = model(ids[..., 4:], past_key_values=first.past_key_values)
    whole = model(ids)
    assert apart(second.logits, whole.logits[..., 4:, :]) < 1e-5
    assert apart(second.mc_logits, whole.mc_logits) < 1e-5
    single = model(ids[0, 0, :4], use_cache=True)
    step = model(ids[0, 0, 4:], past_key_values=single.past_key_values)
    assert apart(step.logits, whole.logits[0, 0, 4:]) < 1e-5


def test_a_cache_under_autocast() -> None:
    ids = draw_ids(2, 6)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert apart(in_parts(MODEL, ids, [3, 1, 2]), MODEL(ids).logits) < TOLERANCE[torch.bfloat16]


def test_no_room() -> None:
    cache = KVCache(MODEL.config, 1)
    MODEL(draw_ids(1, 15), past_key_values=cache)
    message = "the cache holds 15 tokens and the input 2; the model's context length is 16"
    with pytest.raises(ContextTooLong, match=message) as caught:
        MODEL(draw_ids(1, 2), past_key_values=cache)
    assert "truncate" in caught.value.hint
    assert cache.lengths == [15]


def test_a_cache_of_another_batch() -> None:
    with pytest.raises(ConfigError, match="hold 2 rows and the input 3") as caught:
        MODEL(draw_ids(3, 2), past_key_values=KVCache(MODEL.config, 2))
    assert "each batch" in caught.value.hint
