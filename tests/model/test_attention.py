"""Attention: every implementation against the formula, and flash_attn by a stand-in."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt.errors import BackendMissing, ConfigError
from ogpt.model import attention, transformer
from ogpt.model.attention import attend, can_flash, check_attention
from ogpt.model.heads import OpenAIGPTLMHeadModel
from tests.model.small import KINDS, apart, draw_ids, small

KEYS = 37


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
def test_one_query(dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, 1, 16, generator=generator).to(dtype)
    key, value = torch.randn(2, 2, 3, KEYS, 16, generator=generator).to(dtype)
    allowed = torch.arange(KEYS)[None, None, None] < torch.tensor([20, KEYS])[:, None, None, None]

    scores = query.double() @ key.double().transpose(-1, -2) / 4.0
    expected = scores.masked_fill(~allowed, float("-inf")).softmax(-1) @ value.double()
    found = attend(query, key, value, allowed)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)

    everything = torch.ones(1, 1, 1, 1, dtype=torch.bool)  # the fault to catch: hidden keys seen
    wrong = attend(query, key, value, everything)
    assert (wrong[0].double() - expected[0]).abs().max() > 10 * tolerance


@pytest.mark.parametrize("masked", [False, True])
def test_dropout_over_blocks_of_queries(masked: bool) -> None:
    """Longer than one block; the mean over many draws is attention without dropout."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, 150, 8, generator=generator)
    allowed = None
    if masked:
        allowed = torch.rand(1, 1, 150, 150, generator=generator) > 0.3
        allowed = allowed.tril() | torch.eye(150, dtype=torch.bool)
    plain = attend(query, key, value, allowed)
    draws = [attend(query, key, value, allowed, 0.2, torch.tensor(n), 3) for n in range(200)]
    assert apart(draws[0], draws[1]) > 0.1
    assert apart(torch.stack(draws).mean(0)[..., 50:, :], plain[..., 50:, :]) < 0.12
    assert apart(torch.stack(draws).mean(0), plain) < 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", ["none", "2-D", "4-D"])
def test_sdpa_equals_eager(kind: type[OpenAIGPTLMHeadModel], masked: str) -> None:
    model, ids = small(kind), draw_ids(3, 9)
    mask = {
        "none": None,
        "2-D": (torch.arange(9) >= torch.tensor([[0], [3], [9]])).long(),
        "4-D": torch.rand(3, 4, 9, 9, generator=torch.Generator().manual_seed(0)) > 0.3,
    }[masked]
    fused = model(ids, attention_mask=mask)
    asked = model(ids, attention_mask=mask, output_attentions=True)
    model.set_attn_implementation("eager")
    assert model.attn_implementation == model.base_model.attn_implementation == "eager"
    eager = model(ids, attention_mask=mask)
    for name in eager:
        assert apart(fused[name], eager[name]) < 1e-5
        assert torch.equal(asked[name], eager[name])
    for probs in asked.attentions:
        assert probs.shape == (3, 4, 9, 9)
        assert apart(probs.sum(-1), torch.ones(3, 4, 9)) < 1e-5
        assert not probs.triu(1).any()


def test_the_same_dropout_in_both() -> None:
    model, ids = small(attn_pdrop=0.3).train(), draw_ids(2, 9)
    torch.manual_seed(5)
    fused = model(ids).logits
    torch.manual_seed(5)
    out = model(ids, output_attentions=True)
    assert apart(fused, out.logits) < 1e-5
    assert apart(out.attentions[0].sum(-1), torch.ones(2, 4, 9)) < 1e-5  # before dropout


def test_another_name() -> None:
    message = "attn_implementation is 'flash'; allowed: sdpa, eager, flash_attention_2"
    with pytest.raises(ConfigError, match=message) as caught:
        small().set_attn_implementation("flash")
    assert "sdpa" in caught.value.hint


def test_flash_attention_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "find_spec", lambda name: None)
    with pytest.raises(BackendMissing, match="needs the package flash_attn") as caught:
        small().set_attn_implementation("flash_attention_2")
    assert "pip install flash-attn" in caught.value.hint
    assert small().attn_implementation == "sdpa"


@pytest.fixture
def flash_attn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A stand-in for the package, which notes how it was called."""
    calls: list[dict[str, object]] = []

    def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, dropout_p: float, causal: bool) -> Tensor:
        calls.append({"shape": tuple(q.shape), "dropout_p": dropout_p, "causal": causal})
        rows = (x.transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(*rows, is_causal=causal).transpose(1, 2)

    package = ModuleType("flash_attn")
    package.__spec__ = ModuleSpec("flash_attn", None)
    package.flash_attn_func = flash_attn_func  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    return calls


def test_flash_attention(
    flash_attn: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_attention("flash_attention_2") == "flash_attention_2"
    model, ids = small(), draw_ids(2, 9)
    assert model.attn_implementation == "flash_attention_2"  # it is used where it is installed
    model.set_attn_implementation("sdpa")
    expected = model(ids).logits
    model.set_attn_implementation("flash_attention_2")
    assert torch.equal(model(ids).logits, expected)  # float32 on a CPU goes by sdpa
    assert not flash_attn
    monkeypatch.setattr(
        transformer,
        "can_flash",
        lambda name, query, seen: name.startswith("flash") and seen is None,
    )
    assert apart(model(ids).logits, expected) < 1e-5
    call = {"shape": (2, 9, 4, 4), "dropout_p": 0.0, "causal": True}
    assert flash_attn == [call, call]
    mask = torch.tensor([[0] + [1] * 8, [1] * 9])
    model(ids, attention_mask=mask)
    model(ids, output_attentions=True)
    cache = model(ids, use_cache=True).past_key_values
    assert len(flash_attn) == 4  # only the first pass with a cache is plainly causal
    model(ids[:, :1], past_key_values=cache)
    assert len(flash_attn) == 4
    model.train()(ids)
    assert flash_attn[-1]["dropout_p"] == model.config.attn_pdrop


def test_what_flash_attention_serves() -> None:
    def query(dtype: torch.dtype, is_cuda: bool) -> Tensor:
        return SimpleNamespace(dtype=dtype, is_cuda=is_cuda)  # type: ignore[return-value]

    for narrow in (torch.float16, torch.bfloat16):
        assert can_flash("flash_attention_2", query(narrow, True), None)
    assert not can_flash("sdpa", query(torch.float16, True), None)
    assert not can_flash("flash_attention_2", query(torch.float32, True), None)
    assert not can_flash("flash_attention_2", query(torch.float16, False), None)
    assert not can_flash("flash_attention_2", query(torch.float16, True), torch.ones(1))
