import re

import numpy as np
import pytest
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, ContextTooLong, TokenOutOfRange
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from tests.model.parity import random_model


def tiny(**changes: object) -> OpenAIGPTConfig:
    return OpenAIGPTConfig(
        **{"vocab_size": 40, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2, **changes}
    )


def test_parameter_count_of_gpt_1() -> None:
    with torch.device("meta"):
        model = OpenAIGPTLMHeadModel(OpenAIGPTConfig())
    assert model.num_parameters() == 116_534_784


def test_initial_weights_follow_the_paper() -> None:
    model = OpenAIGPTModel(tiny(n_embd=64, initializer_range=0.02))
    weights = torch.cat([p.flatten() for p in model.parameters() if p.ndim > 1])
    assert abs(weights.std().item() - 0.02) < 5e-4
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif ".ln_" in name:
            assert (parameter == 1).all()


def test_future_tokens_never_change_past_logits() -> None:
    model = random_model(1, n_positions=30)
    ids = torch.randint(0, model.config.vocab_size, (2, 30))
    changed = ids.clone()
    changed[:, 20:] = (changed[:, 20:] + 1) % model.config.vocab_size
    torch.testing.assert_close(model(ids).logits[:, :20], model(changed).logits[:, :20])


def test_left_out_labels_count_nothing() -> None:
    model = random_model(2, n_positions=12)
    ids = torch.randint(0, model.config.vocab_size, (1, 12))
    labels = ids.clone()
    labels[:, 6:] = -100
    torch.testing.assert_close(
        model(ids, labels=labels).loss, model(ids[:, :6], labels=ids[:, :6]).loss
    )


def test_logits_to_keep() -> None:
    model = random_model(4, n_positions=12)
    ids = torch.randint(0, model.config.vocab_size, (2, 12))
    whole = model(ids).logits
    torch.testing.assert_close(model(ids, logits_to_keep=3).logits, whole[:, -3:])
    index = torch.tensor([1, 5])
    torch.testing.assert_close(model(ids, logits_to_keep=index).logits, whole[:, index])


def test_labels_with_logits_to_keep_are_refused() -> None:
    model = random_model(4, n_positions=12)
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(ConfigError, match="logits_to_keep=2") as caught:
        model(ids, labels=ids, logits_to_keep=2)
    assert "leave logits_to_keep" in caught.value.hint


def test_a_three_dimensional_mask_separates_documents() -> None:
    model = random_model(6, n_positions=10, n_embd=16, n_head=2)
    ids = torch.randint(0, model.config.vocab_size, (1, 10))
    documents = torch.tensor([[0] * 4 + [1] * 6])
    mask = documents[:, :, None] == documents[:, None, :]
    positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4, 5]])
    packed = model(ids, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(packed[:, :4], model(ids[:, :4]).logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed[:, 4:], model(ids[:, 4:]).logits, atol=1e-5, rtol=1e-5)
    whole = model(ids).logits
    assert (packed[:, 4:] - whole[:, 4:]).abs().max() > 1e-3  # the mask does something


def test_four_dimensional_mask_and_embeddings_and_types() -> None:
    model = random_model(6, n_positions=10)
    ids = torch.randint(0, model.config.vocab_size, (2, 6))
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    plain = model(ids).logits
    torch.testing.assert_close(model(ids, attention_mask=mask).logits, plain, atol=1e-5, rtol=1e-5)
    embeds = model.transformer.tokens_embed(ids)
    torch.testing.assert_close(model(inputs_embeds=embeds).logits, plain)
    typed = model(ids, token_type_ids=torch.ones_like(ids)).logits
    shifted = embeds + model.transformer.tokens_embed.weight[1]
    torch.testing.assert_close(model(inputs_embeds=shifted).logits, typed, atol=1e-5, rtol=1e-5)


def test_outputs_by_name_place_and_tuple() -> None:
    model = random_model(7, n_positions=8)
    ids = torch.zeros(1, 3, dtype=torch.int64)
    out = model(ids)
    assert out["logits"] is out.logits
    assert out[0] is out.logits
    assert len(out.to_tuple()) == 1
    assert model(ids, labels=ids)[0].ndim == 0


def test_too_long_is_refused() -> None:
    model = OpenAIGPTLMHeadModel(tiny())
    with pytest.raises(ContextTooLong, match=r"17 tokens.*length is 16") as caught:
        model(torch.zeros(1, 17, dtype=torch.int64))
    assert "windows" in caught.value.hint


@pytest.mark.parametrize("bad", [40, -1])
def test_ids_outside_the_vocabulary_are_refused(bad: int) -> None:
    model = OpenAIGPTLMHeadModel(tiny())
    with pytest.raises(TokenOutOfRange, match=rf"token id {bad} .*0 to 39") as caught:
        model(torch.tensor([[1, bad]]))
    assert "tokenizer and model" in caught.value.hint


@pytest.mark.parametrize(("arguments", "word"), [({}, "neither"), ({"both": True}, "both")])
def test_one_of_ids_and_embeddings(arguments: dict[str, bool], word: str) -> None:
    model = OpenAIGPTModel(tiny())
    ids = torch.zeros(1, 2, dtype=torch.int64)
    given = {"input_ids": ids, "inputs_embeds": torch.zeros(1, 2, 16)} if arguments else {}
    with pytest.raises(ConfigError, match=word) as caught:
        model(**given)
    assert "input_ids" in caught.value.hint


def test_dropout_follows_torchs_seed_and_is_off_in_evaluation() -> None:
    model = OpenAIGPTLMHeadModel(tiny()).train()
    ids = torch.randint(0, 40, (2, 16))

    def logits(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        return model(ids).logits.detach().numpy()

    assert np.array_equal(logits(1), logits(1))
    assert not np.array_equal(logits(1), logits(2))
    model.eval()
    assert np.array_equal(logits(1), logits(2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # the compiler's own
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
def test_compiled_training_equals_eager_gradients() -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 40, (2, 16))
    gradients = []
    for compiled in (False, True):
        torch.manual_seed(1)
        model = OpenAIGPTLMHeadModel(tiny()).train()
        if compiled:
            model.compile_training()
        torch.manual_seed(2)
        model.token_loss(ids, ids).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for eager, compiled_grad in zip(*gradients, strict=True):
        torch.testing.assert_close(compiled_grad, eager, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bad", [-1, 16])
def test_positions_outside_the_model(bad: int) -> None:
    model = OpenAIGPTModel(tiny())
    with pytest.raises(TokenOutOfRange, match=f"position id {bad} .*0 to 15") as caught:
        model(torch.zeros(1, 2, dtype=torch.int64), position_ids=torch.tensor([[0, bad]]))
    assert "length" in caught.value.hint


@pytest.mark.parametrize("shape", [(2, 4), (2, 6), (5,), (2, 4, 5), (2, 1, 5, 4)])
def test_a_mask_of_another_shape(shape: tuple[int, ...]) -> None:
    message = rf"shape {re.escape(str(shape))}; allowed: \(2, 5\), \(2, 5, 5\)"
    with pytest.raises(ConfigError, match=message) as caught:
        OpenAIGPTModel(tiny())(torch.zeros(2, 5, dtype=torch.int64), torch.ones(shape))
    assert "cache" in caught.value.hint


@pytest.mark.parametrize("bad", [-1, 40])
def test_labels_outside_the_vocabulary(bad: int) -> None:
    ids = torch.zeros(1, 3, dtype=torch.int64)
    labels = torch.tensor([[-100, bad, -100]])
    with pytest.raises(TokenOutOfRange, match=f"label {bad} was passed"):
        OpenAIGPTLMHeadModel(tiny())(ids, labels=labels)


def test_labels_of_another_shape() -> None:
    ids = torch.zeros(1, 3, dtype=torch.int64)
    with pytest.raises(ConfigError, match=r"shape \(1, 2\); allowed: .*\(1, 3\)") as caught:
        OpenAIGPTLMHeadModel(tiny())(ids, labels=ids[:, :2])
    assert "-100" in caught.value.hint
