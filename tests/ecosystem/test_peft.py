"""PEFT's adapters on our layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from peft import PeftModel, get_peft_model

import ogpt
from ogpt.integrations import transformers as door
from ogpt.notices import collecting
from tests.ecosystem import small

LIBRARY = "peft"

LAYERS = ["c_attn", "c_proj", "c_fc"]
KINDS = {
    "CAUSAL_LM": door.OpenAIGPTLMHeadModel,
    "SEQ_CLS": door.OpenAIGPTForSequenceClassification,
    "FEATURE_EXTRACTION": door.OpenAIGPTModel,
}


def adapter(name: str, task: str) -> Any:
    if name == "LoRA":
        return peft.LoraConfig(
            task_type=task, r=4, target_modules=LAYERS, fan_in_fan_out=True, init_lora_weights=False
        )
    if name == "IA3":
        return peft.IA3Config(
            task_type=task, target_modules=LAYERS, feedforward_modules=["c_fc"], fan_in_fan_out=True
        )
    return peft.PromptTuningConfig(task_type=task, num_virtual_tokens=3)


def train(model: Any, task: str) -> None:
    """Two steps that change every trainable weight."""
    model.train()
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=0.5)
    for _ in range(2):
        labels = {"CAUSAL_LM": small.IDS, "SEQ_CLS": torch.tensor([0, 2])}.get(task)
        out = model(input_ids=small.IDS, **({} if labels is None else {"labels": labels}))
        loss = out[0][..., 0].sum() if labels is None else out.loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def values(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=small.IDS)[0]
    return found


@pytest.mark.parametrize("task", KINDS)
@pytest.mark.parametrize("name", ["LoRA", "IA3", "prompt tuning"])
def test_adapters(name: str, task: str, tmp_path: Path) -> None:
    """LoRA, IA3, prompt tuning: trained, saved, loaded, merged; on transformers' model too."""
    kind = KINDS[task]
    base = small.model(kind, num_labels=3, initializer_range=0.3)
    base.save_pretrained(tmp_path / "base")
    before = values(base)
    adapted = get_peft_model(base, adapter(name, task))
    train(adapted, task)
    after = values(adapted)
    assert after.shape != before.shape or not torch.allclose(after, before, atol=1e-4)
    adapted.save_pretrained(tmp_path / "adapter")
    theirs = getattr(transformers, kind.__name__)
    for other in (kind, theirs):
        again = PeftModel.from_pretrained(
            other.from_pretrained(tmp_path / "base").eval(), tmp_path / "adapter"
        )
        torch.testing.assert_close(values(again.eval()), after, rtol=1e-4, atol=1e-4)
    if name != "prompt tuning":
        merged = again.merge_and_unload()
        torch.testing.assert_close(values(merged), after, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(values(adapted.merge_and_unload()), after, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", KINDS)
def test_an_adapter_of_the_token_embedding(task: str, tmp_path: Path) -> None:
    """LoRA on the token embedding: trained, saved, loaded over transformers' GPT-1, merged."""
    base = small.model(KINDS[task], num_labels=3, initializer_range=0.3)
    base.save_pretrained(tmp_path / "base")
    before = values(base)
    asked = {"target_modules": ["tokens_embed"], "init_lora_weights": False}
    adapted = get_peft_model(base, peft.LoraConfig(task_type=task, r=4, **asked))
    train(adapted, task)
    after = values(adapted)
    assert not torch.allclose(after, before, atol=1e-3)
    with pytest.raises(ogpt.errors.TokenOutOfRange):
        adapted(input_ids=small.IDS + 40)
    adapted.save_pretrained(tmp_path / "adapter")
    theirs = getattr(transformers, KINDS[task].__name__).from_pretrained(tmp_path / "base").eval()
    again = PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    torch.testing.assert_close(values(again), after, rtol=1e-4, atol=1e-4)
    if task != "CAUSAL_LM":  # there the head is tied to what is merged
        torch.testing.assert_close(values(adapted.merge_and_unload()), after, rtol=1e-4, atol=1e-4)


def test_prefix_tuning_is_refused_where_transformers_drops_it(tmp_path: Path) -> None:
    """Prefix tuning is refused: it gives keys and values of its own, which GPT-1 lacks."""

    def prefixed(model: Any) -> Any:
        asked = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
        return get_peft_model(model, asked)

    base = small.model(door.OpenAIGPTLMHeadModel)
    base.save_pretrained(tmp_path)
    theirs = transformers.OpenAIGPTLMHeadModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(values(prefixed(theirs)), values(base))
    with pytest.raises(ogpt.errors.ConfigError, match="past_key_values"):
        values(prefixed(base))


def test_an_adapter_of_transformers_model_loads_over_ours(tmp_path: Path) -> None:
    """LoRA trained on transformers' GPT-1, loaded over ours."""
    small.model(door.OpenAIGPTLMHeadModel).save_pretrained(tmp_path / "base")
    theirs = transformers.OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "base").eval()
    adapted = get_peft_model(theirs, adapter("LoRA", "CAUSAL_LM"))
    train(adapted, "CAUSAL_LM")
    adapted.save_pretrained(tmp_path / "adapter")
    ours = door.OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "base")
    again = PeftModel.from_pretrained(ours, tmp_path / "adapter").eval()
    torch.testing.assert_close(values(again), values(adapted), rtol=1e-4, atol=1e-4)


def test_all_linear_adapts_every_layer() -> None:
    """target_modules="all-linear" adapts the four layers of every block."""
    model = small.model(door.OpenAIGPTLMHeadModel)
    adapted = get_peft_model(
        model, peft.LoraConfig(target_modules="all-linear", fan_in_fan_out=True)
    )
    found = {
        name.split("h.")[1]
        for name, module in adapted.named_modules()
        if isinstance(module, peft.tuners.lora.LoraLayer)
    }
    layers = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert found == {f"{block}.{layer}" for block in range(2) for layer in layers}
    own = ogpt.OpenAIGPTLMHeadModel(small.config().own)  # of which PEFT sees the head alone
    with collecting() as notices:
        get_peft_model(own, peft.LoraConfig(target_modules="all-linear"))
    assert [notice.fields for notice in notices] == [{"layer": "lm_head"}]


@pytest.mark.filterwarnings("ignore:Position ids are not supported")  # of PEFT, with version 5
@pytest.mark.parametrize("name", ["LoRA", "IA3", "prompt tuning"])
def test_generate(name: str, tmp_path: Path) -> None:
    """generate() with an adapter writes what transformers' GPT-1 writes with it."""
    base = small.model(door.OpenAIGPTLMHeadModel, initializer_range=0.3)
    base.save_pretrained(tmp_path / "base")
    plain = base.generate(small.IDS, max_new_tokens=6, do_sample=False)
    adapted = get_peft_model(base, adapter(name, "CAUSAL_LM"))
    train(adapted, "CAUSAL_LM")
    adapted.save_pretrained(tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(
        transformers.OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    ).eval()
    mask = torch.ones_like(small.IDS)
    asked = {"attention_mask": mask, "max_new_tokens": 6, "do_sample": False}
    written = adapted.generate(input_ids=small.IDS, **asked)
    expected = theirs.generate(input_ids=small.IDS, use_cache=False, **asked)
    assert written.tolist() == expected.tolist()
    assert written.shape == plain.shape


def test_gradient_checkpointing() -> None:
    """IA3 with gradient checkpointing over frozen weights: the same gradients."""
    grads = []
    for recompute in (False, True):
        model = small.model(door.OpenAIGPTLMHeadModel)
        if recompute:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        adapted = get_peft_model(model, adapter("IA3", "CAUSAL_LM")).train()
        adapted(input_ids=small.IDS, labels=small.IDS).loss.backward()
        grads.append([weight.grad for weight in adapted.parameters() if weight.requires_grad])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
