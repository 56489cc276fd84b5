import numpy as np
import pytest
import torch

from ogpt.errors import ContextTooLong, DecoderError, TokenOutOfRange
from ogpt.model.cache import KVCache
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.generate.prompts import Opening
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


def test_chunks_and_steps_equal_the_whole(decoder, ids, whole) -> None:  # type: ignore[no-untyped-def]
    close(decoder.extend(0, ids[:5], "all"), whole[:5])
    close(decoder.extend(0, ids[5:9]), whole[8])
    assert decoder.extend(0, ids[9:10], "none") is None
    for place in range(10, 20):
        close(decoder.step([0], [ids[place]])[0], whole[place])


def test_slots_of_different_lengths_step_together(decoder, ids, whole) -> None:  # type: ignore[no-untyped-def]
    decoder.extend(0, ids[:9])
    decoder.copy(0, 2)
    decoder.extend(1, ids[:3])
    found = decoder.step([2, 0, 1], [ids[9], ids[9], ids[3]])  # not in order
    for row, place in zip(found, (9, 9, 3), strict=True):
        close(row, whole[place])
    found = decoder.step([0, 1, 2], [ids[10], ids[4], ids[10]])  # in order
    for row, place in zip(found, (10, 4, 10), strict=True):
        close(row, whole[place])
    assert [decoder.length(slot) for slot in range(4)] == [11, 5, 11, 0]


def test_truncate_and_free(decoder, ids, whole) -> None:  # type: ignore[no-untyped-def]
    decoder.extend(3, ids[:12])
    decoder.truncate(3, 4)
    close(decoder.step([3], [ids[4]])[0], whole[4])
    decoder.free(3)
    close(decoder.extend(3, ids[:2]), whole[1])
    decoder.close()


def test_hidden_states_are_those_of_what_was_appended(model, decoder, ids) -> None:  # type: ignore[no-untyped-def]
    expected = model.transformer(torch.tensor([ids])).last_hidden_state[0].detach().numpy()
    decoder.extend(1, ids[:6])
    decoder.copy(1, 3)
    close(decoder.hidden(1), expected[:6])
    decoder.step([3, 1], [ids[6], ids[7]])
    close(decoder.hidden(3), expected[6:7])
    with pytest.raises(DecoderError, match=r"slot 0 .*appended tokens to \[3, 1\]") as caught:
        decoder.hidden(0)
    assert "right after" in caught.value.hint


def test_a_model_in_float64_gives_float64(model, ids) -> None:  # type: ignore[no-untyped-def]
    decoder = TorchDecoder(model.double(), 1)
    found = decoder.extend(0, ids, "all")
    assert found.dtype == decoder.hidden(0).dtype == np.float64
    np.testing.assert_allclose(
        found, model(torch.tensor([ids])).logits[0].detach().numpy(), atol=1e-12
    )
    with pytest.raises(DecoderError, match=r"the last call appended tokens to no slot"):
        TorchDecoder(model, 1).hidden(0)


def test_score(decoder, ids, whole) -> None:  # type: ignore[no-untyped-def]
    log_probs = torch.log_softmax(torch.tensor(whole), -1)
    scores = decoder.score(1, ids[:10], ids[1:11], top=3)
    close(scores.log_probs, log_probs[range(10), ids[1:11]].numpy())
    best = log_probs[:10].topk(3)
    assert np.array_equal(scores.top_ids, best.indices.numpy())
    close(scores.top_log_probs, best.values.numpy())


@pytest.mark.parametrize(
    ("call", "error", "match", "hint"),
    [
        (lambda d: d.extend(4, [1]), DecoderError, r"slots \[4\].*0 to 3", "more slots"),
        (lambda d: d.step([1, 1], [1, 2]), DecoderError, r"slots \[1, 1\]", "each slot once"),
        (lambda d: d.extend(0, []), DecoderError, "0 tokens", "no empty prompt"),
        (
            lambda d: d.read([0, 1], [[1], []]),
            DecoderError,
            "2 rows, the shortest of 0",
            "no empty",
        ),
        (lambda d: d.read([0, 1], [[1], [50]]), TokenOutOfRange, "id 50", "belong together"),
        (lambda d: d.step([0, 1], [1]), DecoderError, "1 rows", "as many tokens as slots"),
        (lambda d: d.extend(0, [50]), TokenOutOfRange, "token id 50 at place 0", "belong together"),
        (
            lambda d: d.extend(0, [1] * 21),
            ContextTooLong,
            "taken and 21 tokens given",
            "slides",
        ),
        (lambda d: d.truncate(0, 1), DecoderError, "cannot be cut to 1", "0 to 0"),
        (lambda d: d.score(0, [1, 2], [1]), DecoderError, "1 targets.*2 ids", "follows each id"),
        (lambda d: d.score(0, [1], [-1]), TokenOutOfRange, "token id -1", "belong together"),
    ],
)
def test_misuse_is_refused_and_changes_nothing(decoder, call, error, match, hint) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=match) as caught:
        call(decoder)
    assert hint in caught.value.hint
    assert [decoder.length(slot) for slot in range(4)] == [0, 0, 0, 0]


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
def openings(model, ids) -> list[Opening]:  # type: ignore[no-untyped-def]
    embeds = model.transformer.tokens_embed(torch.tensor(ids[:4])).detach()
    return [
        Opening(ids[:4], None, [7, 8, 7, 8], None, 4, 4),
        Opening(ids[:4], None, None, [2, 3, 4, 5], 4, 6),
        Opening([], embeds, None, None, 4, 4),
    ]


def whole_again(model, opening, ids) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Logits of the last of `ids`, of which the first four are the opening's."""
    T = len(ids)
    kinds, places = opening.token_types, opening.positions
    more = range(opening.next_position, opening.next_position + T - 4)
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


def test_openings_and_what_follows_them(model, ids, openings) -> None:  # type: ignore[no-untyped-def]
    decoder = TorchDecoder(model, 6, openings)
    for prompt, opening in enumerate(openings):
        close(decoder.open(prompt, prompt), whole_again(model, opening, ids[:4]))
        close(decoder.extend(prompt, ids[4:6]), whole_again(model, opening, ids[:6]))
    for prompt, opening in enumerate(openings):
        decoder.copy(prompt, 5)  # with its token type and positions
        decoder.copy(prompt, 4)
        for row in decoder.step([4, 5], [ids[6], ids[6]]):
            close(row, whole_again(model, opening, ids[:7]))


def test_a_freed_slot_forgets_its_opening(model, ids, openings, whole) -> None:  # type: ignore[no-untyped-def]
    decoder = TorchDecoder(model, 1, openings)
    for prompt in range(len(openings)):
        decoder.open(0, prompt)
        decoder.free(0)
        close(decoder.extend(0, ids[:5]), whole[4])
        decoder.free(0)


def test_positions_ahead_of_the_tokens_end_sooner(model, ids, openings) -> None:  # type: ignore[no-untyped-def]
    decoder = TorchDecoder(model, 1, openings)
    decoder.open(0, 1)
    with pytest.raises(ContextTooLong, match="6 positions are taken and 15 tokens given") as caught:
        decoder.extend(0, ids[:15])
    assert "truncate" in caught.value.hint
    assert decoder.length(0) == 4
    decoder.extend(0, ids[:14])
