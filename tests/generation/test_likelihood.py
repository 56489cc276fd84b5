"""Running text is scored window by window, each token but the first once and in its context."""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpt.errors import ConfigError, DecoderError, TokenOutOfRange
from ogpt.generation.protocol.likelihood import score, windows
from tests.markov import StandInDecoder, contextual, log_softmax

V = 7


def pieces_of(ids: list[int], cuts: list[int]) -> list[list[int]]:
    edges = [0, *sorted(cut % (len(ids) + 1) for cut in cuts), len(ids)]
    return [ids[a:b] for a, b in itertools.pairwise(edges)]


@given(
    st.integers(0, 60),
    st.lists(st.integers(0, 100), max_size=5),
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))),
)
def test_windows_score_every_token_but_the_first_once(
    n_tokens: int, cuts: list[int], shape: tuple[int, int]
) -> None:
    n_positions, stride = shape
    ids = list(range(n_tokens))
    made = list(windows(pieces_of(ids, cuts), n_positions, stride))
    assert [target for window in made for target in window.targets] == ids[1:]
    for number, window in enumerate(made):
        read = [*window.context, *window.ids]
        assert window.targets == [token + 1 for token in window.ids]
        assert read == ids[read[0] : read[0] + len(read)]
        assert len(read) <= n_positions
        if number:
            assert len(read) == n_positions
            assert len(window.ids) <= stride


def test_windows_hold_no_more_than_they_need() -> None:
    pieces = ([i % 251] * 1000 for i in range(2000))
    tracemalloc.start()
    count = sum(len(window.ids) for window in windows(pieces, 64, 32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2_000_000 - 1
    assert peak < 200_000  # bytes


def naive_nats(decoder: StandInDecoder, ids: list[int], stride: int) -> list[float]:
    """Each token from what its window holds of the tokens before it."""
    n = decoder.n_positions
    nats = []
    for i in range(1, len(ids)):
        end = n + max(0, math.ceil((i - n) / stride)) * stride  # of the window that scores it
        start = max(0, min(end, len(ids) - 1) - n)
        held = tuple(ids[start:i])
        nats.append(-float(log_softmax(decoder.logits_of(held).astype(np.float32))[ids[i]]))
    return nats


@settings(deadline=None)
@given(
    st.lists(st.integers(0, V - 1), min_size=2, max_size=40),
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    st.lists(st.integers(0, 100), max_size=4),
)
def test_the_score_is_that_of_each_token_in_its_context(
    ids: list[int], shape: tuple[int, int], cuts: list[int]
) -> None:
    n_positions, stride = shape
    decoder = contextual(V, n_positions=n_positions, slots=1)
    scored = list(score(decoder, pieces_of(ids, cuts), stride))
    expected = naive_nats(decoder, ids, stride or max(1, n_positions // 2))
    assert sum(map(len, scored)) == len(ids) - 1
    assert -sum(float(found.sum()) for found in scored) == pytest.approx(sum(expected), rel=1e-5)
    assert decoder.held == [[]]


def test_planted_faults_change_the_score() -> None:
    decoder = contextual(V, n_positions=8, slots=1)
    ids = np.random.default_rng(0).integers(V, size=40).tolist()
    [*scored] = score(decoder, [ids], 4)
    right = -sum(float(found.sum()) for found in scored)
    assert right == pytest.approx(sum(naive_nats(decoder, ids, 4)), rel=1e-5)
    shifted = naive_nats(decoder, ids[:1] + ids[:-1], 4)  # a token predicted one place too late
    assert right != pytest.approx(sum(shifted), rel=1e-3)
    assert right != pytest.approx(sum(naive_nats(decoder, ids, 5)), rel=1e-3)


def test_log_probabilities_that_are_not_numbers_are_refused() -> None:
    decoder = StandInDecoder(lambda held: np.full(V, np.nan), V)
    with pytest.raises(DecoderError, match="2 tokens sum to nan; allowed: finite") as caught:
        list(score(decoder, [[1, 2, 3]]))
    assert "another checkpoint" in caught.value.hint
    assert decoder.held[0] == []


def test_ids_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(TokenOutOfRange):
        list(score(contextual(V), [[1, V, 3]]))


@pytest.mark.parametrize("stride", [-1, 17])
def test_a_stride_outside_its_range_is_refused(stride: int) -> None:
    message = f"stride is {stride}; allowed: 0 to 16"
    with pytest.raises(ConfigError, match=message) as caught:
        list(score(contextual(V), [[1, 2]], stride))
    assert "omit it" in caught.value.hint
