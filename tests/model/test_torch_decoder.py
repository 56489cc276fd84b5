import numpy as np
import pytest
import torch

from ogpt.errors import ContextTooLong
from ogpt.generation.protocol.decoder import Part
from ogpt.model.cache import KVCache
from ogpt.model.decoder.bare_prompt import BarePrompt
from ogpt.model.decoder.torch_decoder import TorchDecoder
from tests.decoding.calls import extend, step
from tests.model.parity import random_model


@pytest.fixture
def model():  # type: ignore[no-untyped-def]
    return random_model(9, n_positions=20, vocab_size=50, n_embd=16, n_head=2)


@pytest.fixture
def decoder(model):  # type: ignore[no-untyped-def]
    return TorchDecoder(model, 4)


@pytest.fixture
def ids() -> list[int]:
    return torch.randint(0, 50, (20,), generator=torch.Generator().manual_seed(0)).tolist()


@pytest.fixture
def whole(model, ids: list[int]) -> np.ndarray:  # type: ignore[no-untyped-def]
    return model(torch.tensor([ids])).logits[0].detach().numpy()


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)


def test_a_model_in_float64_gives_float64(model, ids) -> None:  # type: ignore[no-untyped-def]
    decoder = TorchDecoder(model.double(), 1)
    found = decoder.run([Part(0, ids, "all")], hidden=True)
    assert found.logits.dtype == found.hidden[0].dtype == np.float64
    np.testing.assert_allclose(
        found.logits, model(torch.tensor([ids])).logits[0].detach().numpy(), atol=1e-12
    )
    decoder.free(0)
    assert decoder.run([Part(0, ids, "none")]).logits.dtype == np.float64


@pytest.mark.parametrize("passes", range(4))
def test_a_call_that_fails_half_way_changes_no_slot(model, decoder, ids, whole, passes) -> None:  # type: ignore[no-untyped-def]
    """Memory runs out in the batch of steps, in either prompt, or for the logits."""
    decoder.run([Part(0, ids[:5]), Part(2, ids[:7])])
    left = 0

    def take_memory(module, given) -> None:  # type: ignore[no-untyped-def]
        nonlocal left
        if not left:
            raise RuntimeError("out of memory")
        left -= 1

    hooks = [
        part.register_forward_pre_hook(take_memory)
        for part in (model.transformer.h[-1], model.lm_head)
    ]
    parts = [Part(1, ids[:6]), Part(0, ids[5:6]), Part(2, ids[7:8]), Part(3, ids[:9])]
    calls = [
        (passes, lambda: decoder.run(parts)),
        (passes % 2, lambda: decoder.score(2, ids[7:9], ids[8:10])),
    ]
    for before, call in calls:
        left = before
        with pytest.raises(RuntimeError, match="out of memory"):
            call()
        assert [decoder.length(slot) for slot in range(4)] == [5, 0, 7, 0]
    for hook in hooks:
        hook.remove()
    close(decoder.run(parts).logits, whole[[5, 5, 7, 8]])


def test_the_models_own_cache_refuses_what_does_not_fit(model) -> None:  # type: ignore[no-untyped-def]
    cache = KVCache(model.config, 1)
    model(torch.zeros(1, 15, dtype=torch.int64), past_key_values=cache)
    with pytest.raises(ContextTooLong, match=r"15 tokens.*input 6.*length is 20") as caught:
        model(torch.zeros(1, 6, dtype=torch.int64), past_key_values=cache)
    assert "truncate" in caught.value.hint


def test_cached_forward_with_attentions_and_mask(model, ids, whole) -> None:  # type: ignore[no-untyped-def]
    cache = KVCache(model.config, 1)
    model(torch.tensor([ids[:7]]), past_key_values=cache)
    mask = torch.ones(1, 12, dtype=torch.int64)
    out = model(
        torch.tensor([ids[7:12]]),
        attention_mask=mask,
        past_key_values=cache,
        output_attentions=True,
    )
    close(out.logits[0].detach().numpy(), whole[7:12])
    assert out.attentions[0].shape == (1, 2, 5, 12)


@pytest.fixture
def prompts(model, ids) -> list[BarePrompt]:  # type: ignore[no-untyped-def]
    embeds = model.transformer.tokens_embed(torch.tensor(ids[:4])).detach()
    return [
        BarePrompt(ids[:4], None, [7, 8, 7, 8], None, 4, 4),
        BarePrompt(ids[:4], None, None, [2, 3, 4, 5], 4, 6),
        BarePrompt([], embeds, None, None, 4, 4),
    ]


def whole_again(model, given, ids) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Logits of the last of `ids`, of which the first four are the prompt's."""
    T = len(ids)
    kinds, places = given.token_types, given.positions
    more = range(given.next_position, given.next_position + T - 4)
    return (
        model(
            torch.tensor([ids]),
            token_type_ids=None if kinds is None else torch.tensor([kinds + kinds[-1:] * (T - 4)]),
            position_ids=None if places is None else torch.tensor([[*places, *more]]),
        )
        .logits[0, -1]
        .detach()
        .numpy()
    )


def test_prompts_and_what_follows_them(model, ids, prompts) -> None:  # type: ignore[no-untyped-def]
    decoder = TorchDecoder(model, 6, prompts)
    for prompt, given in enumerate(prompts):
        close(decoder.open(prompt, prompt).logits[0], whole_again(model, given, ids[:4]))
        close(extend(decoder, prompt, ids[4:6]), whole_again(model, given, ids[:6]))
    for prompt, given in enumerate(prompts):
        decoder.copy(prompt, 5)  # with its token type and positions
        decoder.copy(prompt, 4)
        for row in step(decoder, [4, 5], [ids[6], ids[6]]):
            close(row, whole_again(model, given, ids[:7]))


def test_a_freed_slot_forgets_its_prompt(model, ids, prompts, whole) -> None:  # type: ignore[no-untyped-def]
    decoder = TorchDecoder(model, 1, prompts)
    for prompt in range(len(prompts)):
        decoder.open(0, prompt)
        decoder.free(0)
        close(extend(decoder, 0, ids[:5]), whole[4])
        decoder.free(0)


def test_positions_ahead_of_the_tokens_end_sooner(model, ids, prompts) -> None:  # type: ignore[no-untyped-def]
    decoder = TorchDecoder(model, 1, prompts)
    decoder.open(0, 1)
    with pytest.raises(ContextTooLong, match="6 positions are in use and 15 tokens") as caught:
        extend(decoder, 0, ids[:15])
    assert "truncate" in caught.value.hint
    assert decoder.length(0) == 4
    extend(decoder, 0, ids[:14])
