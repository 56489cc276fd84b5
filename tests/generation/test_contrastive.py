from typing import Any

import numpy as np
import pytest

from ogpt.errors import ContextTooLong, DecoderError, SamplingError, TokenOutOfRange
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Part
from ogpt.generation.searching import contrastive
from ogpt.generation.searching.contrastive import contrastive_search
from ogpt.generation.searching.text import Token
from tests.generation.naive import WholeDecoder, naive_contrastive, peer
from tests.markov import contextual


def ask(**changes: Any) -> GenerationSettings:
    options = {"do_sample": False, "penalty_alpha": 0.6, "top_k": 4, "max_new_tokens": 8}
    return GenerationSettings(**{**options, **changes})


def ids_of(tokens: list[Token], count: int) -> list[list[int]]:
    return [[token.id for token in tokens if token.continuation == one] for one in range(count)]


def draw(seed: int) -> tuple[WholeDecoder, list[list[int]], GenerationSettings]:
    numbers = np.random.default_rng(seed)
    asked = ask(
        penalty_alpha=float(numbers.choice([0.2, 0.6, 1.0])),
        top_k=int(numbers.integers(2, 7)),
        max_new_tokens=int(numbers.integers(1, 12)),
        eos_token_id=numbers.integers(0, 8, size=numbers.integers(0, 3)).tolist(),
    )
    prompts = [
        numbers.integers(0, 8, size=numbers.integers(1, 8)).tolist()
        for _ in range(numbers.integers(1, 4))
    ]
    return WholeDecoder(peer(seed), len(prompts) * asked.top_k), prompts, asked


def test_ids_are_those_of_a_naive_search() -> None:
    """Prompts of different lengths side by side, each as if it were alone."""
    for seed in range(25):
        decoder, prompts, asked = draw(seed)
        found = ids_of(list(contrastive_search(decoder, prompts, asked)), len(prompts))
        assert found == [naive_contrastive(decoder, prompt, asked) for prompt in prompts]
        assert decoder.held == [[]] * decoder.slots


FAULTS = {
    "states are not scaled": ("_directions", lambda hidden: hidden),
    "the mean likeness in place of the greatest": (
        "_directions",
        lambda hidden: DIRECTIONS(hidden.mean(axis=0, keepdims=True)),
    ),
    "likeness wins in place of losing": (
        "_choose",
        lambda directions, before, choice, alpha: CHOOSE(directions, before, choice, -alpha),
    ),
}
DIRECTIONS, CHOOSE = contrastive._directions, contrastive._choose


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, broken = FAULTS[fault]
    monkeypatch.setattr(contrastive, name, broken)
    other = 0
    for seed in range(12):
        decoder, prompts, asked = draw(seed)
        found = ids_of(list(contrastive_search(decoder, prompts, asked)), len(prompts))
        other += found != [naive_contrastive(decoder, prompt, asked) for prompt in prompts]
    assert other > 1


def test_without_a_penalty_the_most_likely_candidate_is_taken() -> None:
    decoder = WholeDecoder(peer(1), 4)
    found = list(contrastive_search(decoder, [[3, 1]], ask(penalty_alpha=0)))
    held = [3, 1]
    for token in found:
        logits = decoder.outputs(tuple(held))[0]
        assert token.id == int(logits.argmax())
        expected = logits[token.id] - np.log(np.exp(logits).sum())
        assert token.log_prob == pytest.approx(float(expected))
        held.append(token.id)
    assert [token.finish_reason for token in found] == [None] * 7 + ["length"]


def test_the_rules_an_end_of_the_caller_and_what_is_watched() -> None:
    decoder = WholeDecoder(peer(2, vocab_size=8), 5)
    seen: list[tuple[int, np.ndarray, np.ndarray]] = []

    def two_left(ids: Any, n_prompt: int, logits: np.ndarray) -> np.ndarray:
        allowed = np.full_like(logits, -np.inf)
        allowed[[2, 5]] = logits[[2, 5]]
        return allowed

    found = list(
        contrastive_search(
            decoder,
            [[1, 2, 3]],
            ask(top_k=5),
            lambda tokens: {0} if len(seen) == 3 else (),
            [two_left],
            lambda *step: seen.append(step),
        )
    )
    assert {token.id for token in found} <= {2, 5}
    assert [token.finish_reason for token in found] == [None, None, "stop"]
    for continuation, logits, allowed in seen:
        assert continuation == 0
        assert logits.dtype == np.float64
        assert np.array_equal(allowed[[2, 5]], logits[[2, 5]])
        assert np.isneginf(np.delete(allowed, [2, 5])).all()


def test_a_prompt_that_the_caller_reads() -> None:
    decoder = whole(8)
    expected = ids_of(list(contrastive_search(decoder, [[3, 1], [5]], ask())), 2)
    hidden = [[3, 1], [5]]
    found = contrastive_search(
        decoder,
        [[], []],
        ask(),
        open_prompt=lambda slot, number, states: decoder.run(
            [Part(slot, hidden[number])], hidden=states
        ),
    )
    assert ids_of(list(found), 2) == expected


def test_a_zero_hidden_state_is_like_nothing() -> None:
    decoder = WholeDecoder(peer(3), 4)
    decoder._hidden = lambda parts: tuple(np.zeros((1, 4)) for _ in parts)  # type: ignore[method-assign]
    greedy = contrastive_search(decoder, [[1]], ask())
    first = int(decoder.outputs((1,))[0].argmax())
    assert next(greedy).id == first
    greedy.close()
    assert decoder.held == [[]] * 4


def whole(slots: int = 4) -> WholeDecoder:
    return WholeDecoder(peer(4, vocab_size=9, n_positions=16), slots)


@pytest.mark.parametrize(
    ("decoder", "prompts", "changes", "error", "match", "hint"),
    [
        (contextual(9), [[1]], {}, DecoderError, "has no hidden states", "torch decoder"),
        (whole(3), [[1], [2]], {}, DecoderError, "has 3 slots; this text needs 4", "more slots"),
        (whole(), [[1] * 9], {}, ContextTooLong, "9 tokens and up to 8 .* is 16", "shorten"),
        (whole(), [[9]], {}, TokenOutOfRange, "id 9", "tokenizer"),
        (whole(), [[1]], {"penalty_alpha": 0, "top_k": 0}, SamplingError, "top_k is 0", "4 is"),
        (whole(), [[1]], {"suppress_tokens": range(9)}, SamplingError, "largest of 9", "ban"),
    ],
)
def test_what_cannot_be_is_refused(
    decoder: Any, prompts: Any, changes: Any, error: Any, match: str, hint: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        list(contrastive_search(decoder, prompts, ask(**changes)))
    assert hint in caught.value.hint
    assert decoder.held == [[]] * decoder.slots


def test_a_prompt_that_just_fits_and_more_candidates_than_tokens() -> None:
    decoder = whole(12)
    found = list(contrastive_search(decoder, [[1] * 8], ask(top_k=12)))
    assert [token.id for token in found] == naive_contrastive(decoder, [1] * 8, ask(top_k=12))
