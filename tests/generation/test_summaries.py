from collections.abc import Sequence

import numpy as np
import pytest

from ogpt.errors import DecoderError
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Abilities, Part
from ogpt.generation.protocol.logits import block_sums
from ogpt.generation.protocol.summaries import Summary, log_sum_exp, summarize
from ogpt.generation.searching.beam import beam_search
from ogpt.generation.searching.contrastive import contrastive_search
from ogpt.generation.searching.sampling import search
from tests.markov import StandInDecoder, contextual


def rows(n: int, vocab_size: int, dtype: type) -> np.ndarray:
    return (np.random.default_rng(0).normal(size=(n, vocab_size)) * 4).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vocab_size", [1, 255, 256, 40_478])
def test_a_row_is_summarized(dtype: type, vocab_size: int) -> None:
    logits = rows(3, vocab_size, dtype)
    logits[1, : vocab_size // 2] = -np.inf
    best, normalizers = summarize(logits)
    exact = np.log(np.exp(logits.astype(np.float64)).sum(axis=1))
    np.testing.assert_allclose(normalizers, exact, rtol=1e-7 if dtype == np.float32 else 1e-14)
    assert best.tolist() == logits.argmax(axis=1).tolist()
    assert summarize(np.zeros((1, 9), dtype)).best == [0]  # of equal ones, the lowest
    assert log_sum_exp(logits[0]) == normalizers[0]


def test_a_row_has_the_same_bits_alone_and_among_others() -> None:
    logits = rows(40, 1_031, np.float32)
    _, normalizers = summarize(logits)
    for row, value in zip(logits, normalizers, strict=True):
        assert summarize(row[None]).normalizers[0] == value
        apart = np.concatenate([np.zeros(3, np.float32), row])[3:]  # elsewhere in memory
        assert summarize(apart[None]).normalizers[0] == value


def test_sums_of_blocks_add_up_where_one_running_sum_would_not() -> None:
    weights = np.full(2**20, 0.1, np.float32)
    exact = weights.sum(dtype=np.float64)
    assert block_sums(weights).sum() == pytest.approx(exact, rel=1e-7)
    running = np.cumsum(weights)[-1]
    assert running != pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    logits = rows(3, 9, np.float32)
    logits[1, 4] = value
    with pytest.raises(DecoderError, match=f"largest logit is {value}; allowed: finite"):
        summarize(logits)


def test_searches_ask_the_decoder() -> None:
    """A decoder with a summary of its own is believed: here one that favours the token 3."""

    def favours(logits: np.ndarray) -> Summary:
        asked.append(len(logits))
        return Summary(np.full(len(logits), 3), np.full(len(logits), 2.0))

    asked: list[int] = []
    greedy = GenerationSettings(do_sample=False, max_new_tokens=3)
    decoder = contextual(7)
    decoder.abilities = Abilities(False, False, False, True, favours)
    tokens = list(search(decoder, [[1], [2]], greedy))
    assert [token.id for token in tokens] == [3] * 6
    assert tokens[0].log_prob == decoder.logits_of((1,)).astype(np.float32)[3] - 2.0
    assert asked == [2, 2, 2]  # both prompts, then their tokens
    beams = GenerationSettings(do_sample=False, max_new_tokens=2, num_beams=2)
    [[best]] = beam_search(decoder, [[1]], beams)
    assert asked[3:] == [1, 2]  # the prompt, then its beams
    first, second = ((1,), (1, best.ids[0]))
    total = sum(
        float(decoder.logits_of(held).astype(np.float32)[token]) - 2.0
        for held, token in ((first, best.ids[0]), (second, best.ids[1]))
    )
    assert best.score == pytest.approx(total / 2)


def test_contrastive_search_asks_it_too() -> None:
    class Hidden(StandInDecoder):
        def _hidden(self, parts: Sequence[Part]) -> tuple[np.ndarray, ...]:
            return tuple(np.ones((1, 2)) for _ in parts)

    decoder = Hidden(contextual(7).logits_of, 7)
    decoder.abilities = Abilities(
        True, False, False, True, lambda logits: Summary(logits.argmax(1), np.full(len(logits), 9))
    )
    asked = GenerationSettings(do_sample=False, max_new_tokens=1, penalty_alpha=0.5, top_k=2)
    [token] = contrastive_search(decoder, [[1]], asked)
    logit = float(decoder.logits_of((1,)).astype(np.float32)[token.id])
    assert token.log_prob == pytest.approx(logit - 9)
