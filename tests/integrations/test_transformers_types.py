"""Our networks as types of transformers: the same numbers, and no other model changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import ogpt
from ogpt.integrations.transformers import (
    Conv1D,
    OpenAIGPTConfig,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification,
    OpenAIGPTLMHeadModel,
    OpenAIGPTModel,
    OpenAIGPTTokenizer,
    OpenAIGPTTokenizerFast,
    register,
)
from tests.integrations.small import CLASSES, IDS, built, small


@pytest.mark.parametrize("kind", CLASSES)
def test_the_network_and_its_initial_weights_are_ours(kind: Any, tmp_path: Path) -> None:
    model, own = built(kind, small()), built(kind.network_class, small().own)
    assert isinstance(model, transformers.PreTrainedModel)
    assert isinstance(model, kind.network_class)
    assert list(model.state_dict()) == list(own.state_dict())
    torch.testing.assert_close(model(IDS)[0], own(IDS)[0], rtol=0, atol=0)
    model.save_pretrained(tmp_path)
    for reader in (kind, kind.network_class, getattr(transformers, kind.__name__)):
        again = reader.from_pretrained(tmp_path).eval()
        torch.testing.assert_close(again(IDS)[0], own(IDS)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_flipped_bit_of_a_bin_file_is_found(zipped: bool, tmp_path: Path) -> None:
    model = built(OpenAIGPTLMHeadModel, small())
    model.config.save_pretrained(tmp_path)
    file = tmp_path / "pytorch_model.bin"
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    torch.save(weights, file, _use_new_zipfile_serialization=zipped)
    again = OpenAIGPTLMHeadModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(IDS).logits, model(IDS).logits)
    if not zipped:  # no checksums
        return
    content = bytearray(file.read_bytes())
    content[content.index(weights["transformer.h.1.ln_2.weight"].numpy().tobytes()) + 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ogpt.errors.WeightsError, match="checksum"):
        OpenAIGPTLMHeadModel.from_pretrained(tmp_path)


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for name in (missing, str(missing)):
        with pytest.raises(OSError, match="there is no folder"):
            CLASSES[0].from_pretrained(name)
    with pytest.raises(OSError, match="there is no folder"):
        CLASSES[0].from_pretrained(pretrained_model_name_or_path=str(missing))


def test_tools_find_transformers_layers() -> None:
    model = built(OpenAIGPTLMHeadModel, small())
    names = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, transformers.pytorch_utils.Conv1D)
    }
    assert names == {"c_attn", "c_proj", "c_fc"}
    layer = model.transformer.h[0].attn.c_attn
    assert isinstance(layer, Conv1D)
    assert (layer.nx, layer.nf) == (16, 48)


def test_generate_uses_our_cache_and_writes_the_same_text() -> None:
    model, own = built(OpenAIGPTLMHeadModel, small()), built(ogpt.OpenAIGPTLMHeadModel, small().own)
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    lengths: list[int] = []
    model.transformer.tokens_embed.register_forward_hook(
        lambda layer, given, out: lengths.append(given[0].shape[-1])
    )
    for options in ({}, {"num_beams": 3}):
        expected = own.generate(IDS, attention_mask=mask, max_new_tokens=5, **options)
        lengths.clear()
        written = model.generate(
            IDS, attention_mask=mask, max_new_tokens=5, do_sample=False, **options
        )
        assert written.tolist() == expected.tolist()
        assert lengths == [4, 1, 1, 1, 1]


def test_positions_of_generate_are_told() -> None:
    model = built(OpenAIGPTLMHeadModel, small())
    asked = {"max_new_tokens": 2, "do_sample": False, "attention_mask": torch.ones_like(IDS)}
    with ogpt.notices.collecting() as notices:
        written = model.generate(IDS, position_ids=torch.tensor([[3, 2, 1, 0]] * 2), **asked)
    assert [notice.fields["setting"] for notice in notices] == ["position_ids"]
    assert written.tolist() == model.generate(IDS, **asked).tolist()


def test_outputs_are_transformers_mappings() -> None:
    out = built(OpenAIGPTDoubleHeadsModel, small())(IDS, labels=IDS)
    assert isinstance(out, transformers.utils.ModelOutput)
    assert list(out) == ["loss", "logits", "mc_logits"]
    assert isinstance(built(OpenAIGPTModel, small())(IDS, return_dict=False), tuple)


def test_a_setting_reaches_the_network() -> None:
    model = built(OpenAIGPTForSequenceClassification, small(pad_token_id=None))
    padded = torch.tensor([[4, 8, 0, 0], [23, 42, 4, 8]])
    alone = model(padded[:1, :2]).logits
    assert not torch.allclose(model(padded).logits[0], alone[0])
    model.config.pad_token_id = 0
    torch.testing.assert_close(model(padded).logits[0], alone[0])
    model.config.output_hidden_states = True
    assert len(model(padded).hidden_states) == 3
    assert model.transformer.config.hidden_size == model.config.hidden_size == 16


def test_parity_is_saved_and_read(tmp_path: Path) -> None:
    small(parity="transformers-4").save_pretrained(tmp_path)
    assert OpenAIGPTConfig.from_pretrained(tmp_path).parity.masking == "transformers"
    assert ogpt.OpenAIGPTConfig.from_pretrained(tmp_path).parity.masking == "transformers"
    small().save_pretrained(tmp_path)
    assert "parity" not in (tmp_path / "config.json").read_text("utf-8")
    with pytest.raises(ogpt.errors.ConfigError):
        OpenAIGPTLMHeadModel(small(parity="none such"))


def test_a_configuration_of_transformers_serves() -> None:
    plain = transformers.OpenAIGPTConfig(
        vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2
    )
    model = OpenAIGPTModel(plain)
    assert model.config.own.n_layer == 1
    assert type(plain) is transformers.OpenAIGPTConfig


def test_embeddings_are_resized_and_stay_tied() -> None:
    model = built(OpenAIGPTLMHeadModel, small())
    model.resize_token_embeddings(53)
    assert model(IDS + 5).logits.shape[-1] == 53
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.transformer.config.vocab_size == model.config.vocab_size == 53
    assert OpenAIGPTModel(small()).get_output_embeddings() is None


def test_heads_are_pruned(tmp_path: Path) -> None:
    model, own = built(OpenAIGPTLMHeadModel, small()), built(ogpt.OpenAIGPTLMHeadModel, small().own)
    model.prune_heads({1: [0]})
    own.prune_heads({1: [0]})
    torch.testing.assert_close(model(IDS).logits, own(IDS).logits, rtol=0, atol=0)
    model.save_pretrained(tmp_path)
    again = OpenAIGPTLMHeadModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(IDS).logits, own(IDS).logits)


def test_gradient_checkpointing_and_attention_are_chosen() -> None:
    model = built(OpenAIGPTLMHeadModel, small()).train()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    assert model.transformer.gradient_checkpointing
    assert model.transformer.checkpoint_options == {"use_reentrant": True}
    model.gradient_checkpointing_disable()
    assert not model.transformer.gradient_checkpointing
    model.set_attn_implementation("eager")
    assert model.transformer.attn_implementation == "eager"
    assert built(OpenAIGPTModel, small(attn_implementation="eager")).attn_implementation == "eager"


def trained(kind: Any, **arguments: Any) -> Any:
    empty = kind(vocab={"<unk>": 0}, merges=[], **arguments)
    texts = ["hello, my dog is cute", "Isn't Mr. Low here?"] * 2
    return empty.train_new_from_iterator(texts, vocab_size=45)


def test_tokenizers_have_both_types() -> None:
    slow, fast = (
        trained(OpenAIGPTTokenizer, pre_tokenizer="openai"),
        trained(OpenAIGPTTokenizerFast),
    )
    assert isinstance(slow, transformers.PreTrainedTokenizer)
    assert isinstance(fast, transformers.PreTrainedTokenizerFast)
    fast.add_special_tokens({"pad_token": "<pad>"})
    assert fast.pad_token_id == len(fast) - 1
    own = trained(ogpt.OpenAIGPTTokenizer, pre_tokenizer="openai")
    assert slow("Hello, Mr. Low").input_ids == own("Hello, Mr. Low").input_ids


def auto(folder: Path) -> list[type]:
    return [
        type(transformers.AutoConfig.from_pretrained(folder)),
        type(transformers.AutoTokenizer.from_pretrained(folder)),
        type(transformers.AutoModel.from_pretrained(folder)),
        type(transformers.AutoModelForCausalLM.from_pretrained(folder)),
    ]


def test_register_is_explicit_and_undone(tmp_path: Path) -> None:
    trained(OpenAIGPTTokenizerFast).save_pretrained(tmp_path)
    OpenAIGPTLMHeadModel(small()).save_pretrained(tmp_path)
    before = auto(tmp_path)
    assert [kind.__module__.split(".")[0] for kind in before] == ["transformers"] * 4
    with register(), register():
        assert auto(tmp_path) == [
            OpenAIGPTConfig,
            OpenAIGPTTokenizer,
            OpenAIGPTModel,
            OpenAIGPTLMHeadModel,
        ]
        assert transformers.AutoConfig.for_model("gpt2").__class__ is transformers.GPT2Config
    assert auto(tmp_path) == before


@pytest.mark.parametrize("words", ["openai", "hf-spacy"])
def test_auto_tokenizer_keeps_the_pre_tokenization(words: str, tmp_path: Path) -> None:
    own = trained(ogpt.OpenAIGPTTokenizer, pre_tokenizer=words)
    own.save_pretrained(tmp_path)
    ogpt.OpenAIGPTConfig().save_pretrained(tmp_path)
    text = "Isn't  Mr. Low\nhere?"
    with register():
        tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer(text).input_ids == own(text).input_ids
