"""The contract of the Decoder protocol: checks that every decoder passes.

`Contract.CHECKS` run in `test_contract.py` for each decoder, and for decoders with a planted fault,
which fail at least one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from ogpt.errors import ContextTooLong, DecoderError, OgptError, TokenOutOfRange
from ogpt.generation.protocol.decoder import Computed, Decoder, Part

SLOTS = 4
LENGTH = 39  # a fault with a token too many finds room
SIZES: dict[str, Any] = {
    "n_positions": 40,
    "vocab_size": 131,
    "n_embd": 48,
    "n_head": 3,
    "n_layer": 2,
}
TEXTS: list[list[int]] = np.random.default_rng(7).integers(0, 131, (SLOTS, LENGTH)).tolist()

REFUSED: list[tuple[Callable[[Decoder], object], type[OgptError], str, str]] = [
    (lambda d: d.run([]), DecoderError, "0 parts; allowed: 1 or more", "pass a part"),
    (lambda d: d.run([Part(4, [1])]), DecoderError, r"\[4\]; allowed: 0 to 3", "more slots"),
    (lambda d: d.run([Part(-1, [1])]), DecoderError, r"\[-1\]; allowed: 0 to 3", "more slots"),
    (
        lambda d: d.run([Part(3, [1]), Part(3, [2])]),
        DecoderError,
        r"\[3, 3\]; allowed: 0 to 3, each once",
        "each slot once",
    ),
    (
        lambda d: d.run([Part(3, [1]), Part(1, [])]),
        DecoderError,
        "slot 1 has 0 tokens; allowed: 1 or more",
        "omit slots",
    ),
    (
        lambda d: d.run([Part(3, [1]), Part(1, [2], "first")]),  # type: ignore[arg-type]
        DecoderError,
        "want is 'first'; allowed: none, last, all",
        "one of these",
    ),
    (
        lambda d: d.run([Part(3, [1]), Part(1, [131])]),
        TokenOutOfRange,
        "token id 131 at place 0; allowed: 0 to 130",
        "tokenizer belongs",
    ),
    (lambda d: d.run([Part(3, [1, -1])]), TokenOutOfRange, "id -1 at place 1", "tokenizer"),
    (lambda d: d.run([Part(3, [2**70])]), TokenOutOfRange, "token id 118", "tokenizer belongs"),
    (
        lambda d: d.run([Part(3, [1]), Part(0, [1] * 36)]),
        ContextTooLong,
        "5 positions are in use and 36 tokens follow; the context length is 40",
        "sliding window",
    ),
    (lambda d: d.run([Part(3, [1] * 41)]), ContextTooLong, "0 positions .* 41 tokens", "truncate"),
    (
        lambda d: d.score(3, [1, 2], [1]),
        DecoderError,
        "1 targets for 2 ids; allowed: 1 or more ids, with one target each",
        "follows each id",
    ),
    (lambda d: d.score(3, [], []), DecoderError, "0 targets for 0 ids", "follows each id"),
    (lambda d: d.score(3, [1], [-1]), TokenOutOfRange, "token id -1", "tokenizer belongs"),
    (lambda d: d.score(3, [131], [1]), TokenOutOfRange, "token id 131", "tokenizer belongs"),
    (lambda d: d.score(3, [1], [1], 132), DecoderError, "top is 132; allowed: 0 to 131", "131"),
    (lambda d: d.score(4, [1], [1]), DecoderError, r"\[4\]; allowed: 0 to 3", "more slots"),
    (lambda d: d.score(0, [1] * 36, [1] * 36), ContextTooLong, "5 positions", "truncate"),
    (lambda d: d.length(4), DecoderError, r"\[4\]; allowed: 0 to 3", "more slots"),
    (lambda d: d.truncate(0, 6), DecoderError, "length is 6 for slot 0; allowed: 0 to 5", "0 to 5"),
    (lambda d: d.truncate(0, -1), DecoderError, "length is -1 for slot 0", "0 to 5"),
    (lambda d: d.truncate(4, 0), DecoderError, r"\[4\]; allowed: 0 to 3", "more slots"),
    (lambda d: d.free(7), DecoderError, r"\[7\]; allowed: 0 to 3", "more slots"),
    (lambda d: d.copy(0, 4), DecoderError, r"\[4\]; allowed: 0 to 3", "more slots"),
    (lambda d: d.copy(-3, 0), DecoderError, r"\[-3\]; allowed: 0 to 3", "more slots"),
]

NO_WHOLE_NUMBERS: list[Callable[[Any], object]] = [
    lambda d: d.run([Part(3, [1.5])]),
    lambda d: d.run([Part(0.5, [1])]),
    lambda d: d.score(3, [1], ["a"]),
    lambda d: d.truncate(0, 1.5),
]


class Contract:
    """The checks of one decoder.

    Args:
        make: Opens a decoder of a model of SIZES with SLOTS slots.
        logits: Of the model itself for each of TEXTS, (SLOTS, T, V).
        states: The model's last hidden states, (SLOTS, T, C).
        limit: Allowed difference from the model, relative to the largest number.
    """

    def __init__(
        self,
        make: Callable[[], Decoder],
        logits: NDArray[Any],
        states: NDArray[Any],
        limit: float,
    ) -> None:
        self.make, self.limit = make, limit
        self.model_logits, self.model_states = logits, states
        self.decoder = make()
        self.logits = np.empty_like(logits)
        self.states = np.empty_like(states)
        for text, ids in enumerate(TEXTS):  # one token at a time, alone
            self.decoder.free(0)
            for place, token in enumerate(ids):
                found = self.decoder.run([Part(0, [token])], hidden=True)
                self.logits[text, place] = found.logits[0]
                self.states[text, place] = hidden_of(found)[0][0]
        self.reset()

    def reset(self) -> None:
        """Empty all slots."""
        for slot in range(SLOTS):
            self.decoder.free(slot)

    def same(self, found: NDArray[Any], expected: NDArray[Any]) -> None:
        """Equal to the bit where the decoder promises it, otherwise within the limit."""
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        if self.decoder.abilities.bitwise:
            assert np.array_equal(found, expected)
        elif found.size:
            assert relative(found, expected) < self.limit

    def lengths(self) -> list[int]:
        return [self.decoder.length(slot) for slot in range(SLOTS)]

    def check_one_by_one(self) -> None:
        """One token at a time gives the logits and hidden states of the model."""
        assert relative(self.logits, self.model_logits) < self.limit
        assert relative(self.states, self.model_states) < self.limit

    def check_mixed_parts(self) -> None:
        """One token, a chunk and whole prompts in one call, with each kind of logits."""
        d, ids = self.decoder, TEXTS
        d.run([Part(0, ids[0][:5], "none"), Part(2, ids[2][:9], "none")])
        found = d.run(
            [
                Part(2, ids[2][9:10]),
                Part(0, ids[0][5:9], "all"),
                Part(3, ids[3][:12], "none"),
                Part(1, ids[1][:7]),
            ],
            hidden=True,
        )
        expected = [self.logits[2, 9:10], self.logits[0, 5:9], self.logits[1, 6:7]]
        self.same(found.logits, np.concatenate(expected))
        held = [self.states[2, 9:10], self.states[0, 5:9], self.states[3, :12], self.states[1, :7]]
        assert len(hidden_of(found)) == 4
        for state, wanted in zip(hidden_of(found), held, strict=True):
            self.same(state, wanted)
        assert self.lengths() == [9, 7, 10, 12]
        order = [(3, 12), (1, 7), (0, 9), (2, 10)]
        found = d.run([Part(slot, ids[slot][place : place + 1]) for slot, place in order])
        self.same(found.logits, np.stack([self.logits[each] for each in order]))
        assert self.lengths() == [10, 8, 11, 13]

    def check_wants(self) -> None:
        """Each `want`, for one token and for several; hidden states only where requested."""
        for count in (1, 6):
            for want, rows in (("none", slice(0, 0)), ("last", slice(count - 1, count))):
                self.decoder.free(1)
                found = self.decoder.run([Part(1, TEXTS[1][:count], want)])  # type: ignore[arg-type]
                self.same(found.logits, self.logits[1, rows])
                assert found.hidden is None
            self.decoder.free(1)
            found = self.decoder.run([Part(1, TEXTS[1][:count], "all")], hidden=True)
            self.same(found.logits, self.logits[1, :count])
            self.same(hidden_of(found)[0], self.states[1, :count])
        steps = [Part(0, TEXTS[0][:1], "none"), Part(2, TEXTS[2][:1])]
        self.same(self.decoder.run(steps).logits, self.logits[2, :1])

    def check_cuts(self) -> None:
        """A text gets the same logits however it is cut, beside any other texts."""
        draw = np.random.default_rng(0)
        for _ in range(4):
            self.reset()
            held = [0] * SLOTS
            while min(held) < LENGTH:
                open_slots = [slot for slot in range(SLOTS) if held[slot] < LENGTH]
                some = draw.permutation(open_slots)[: draw.integers(1, 5)].tolist()
                ends = {slot: min(LENGTH, held[slot] + int(draw.integers(1, 14))) for slot in some}
                parts = [Part(slot, TEXTS[slot][held[slot] : ends[slot]], "all") for slot in some]
                expected = [self.logits[slot, held[slot] : ends[slot]] for slot in some]
                self.same(self.decoder.run(parts).logits, np.concatenate(expected))
                for slot in some:
                    held[slot] = ends[slot]
                assert self.lengths() == held

    def check_results_stay(self) -> None:
        """What a call returned is the caller's: later calls do not change it."""
        found = self.decoder.run([Part(0, TEXTS[0][:1]), Part(1, TEXTS[1][:1])], hidden=True)
        kept = [found.logits.copy(), *(state.copy() for state in hidden_of(found))]
        self.decoder.run([Part(0, TEXTS[0][1:2]), Part(1, TEXTS[1][1:2])], hidden=True)
        self.decoder.run([Part(0, TEXTS[0][2:9], "all")], hidden=True)
        for now, before in zip([found.logits, *hidden_of(found)], kept, strict=True):
            assert np.array_equal(now, before)

    def check_truncate_and_free(self) -> None:
        """A slot continues from the tokens that it kept, whatever it held before."""
        d = self.decoder
        d.run([Part(3, TEXTS[0][:30]), Part(1, TEXTS[1][:8])])
        for kept in (30, 13, 1, 0):
            d.truncate(3, kept)
            assert d.length(3) == kept
            found = d.run([Part(3, TEXTS[0][kept : kept + 3], "all")])
            self.same(found.logits, self.logits[0, kept : kept + 3])
        d.free(3)
        assert self.lengths() == [0, 8, 0, 0]
        self.same(d.run([Part(3, TEXTS[2][:4], "all")]).logits, self.logits[2, :4])
        self.same(d.run([Part(1, TEXTS[1][8:9])]).logits, self.logits[1, 8:9])

    def check_copy(self) -> None:
        """A copy continues like its source; afterwards neither slot sees what the other writes."""
        d = self.decoder
        d.run([Part(0, TEXTS[0][:11]), Part(2, TEXTS[2][:20])])
        d.copy(0, 2)  # over a longer text
        d.copy(0, 0)
        d.copy(1, 3)  # of an empty slot
        assert self.lengths() == [11, 0, 11, 0]
        parts = [Part(2, TEXTS[0][11:12]), Part(0, TEXTS[0][11:12])]
        self.same(d.run(parts).logits, np.repeat(self.logits[0, 11:12], 2, 0))
        d.truncate(2, 3)
        d.run([Part(2, TEXTS[3][:9])])
        d.copy(0, 1)
        d.free(2)
        self.same(d.run([Part(0, TEXTS[0][12:17], "all")]).logits, self.logits[0, 12:17])
        d.free(0)
        self.same(d.run([Part(1, TEXTS[0][12:13])]).logits, self.logits[0, 12:13])

    def check_score(self) -> None:
        """Scores are the log-probabilities of `run`'s logits, in one call or in several."""
        d, ids = self.decoder, TEXTS[1]
        targets = ids[1:13]
        log_probs = log_softmax(self.logits[1, :12])
        whole = d.score(1, ids[:12], targets, 3)
        close(whole.log_probs, log_probs[range(12), targets])
        order = np.argsort(-self.logits[1, :12], axis=1, kind="stable")[:, :3]
        assert np.array_equal(whole.top_ids, order)
        close(whole.top_log_probs, np.take_along_axis(log_probs, order, 1))
        assert self.lengths() == [0, 12, 0, 0]
        self.same(d.run([Part(1, ids[12:13])]).logits, self.logits[1, 12:13])
        parts = [d.score(0, ids[:5], targets[:5], 3), d.score(0, ids[5:12], targets[5:], 3)]
        for field, one in zip(whole._fields, whole, strict=True):
            joined = np.concatenate([getattr(part, field) for part in parts])
            assert joined.dtype == one.dtype
            if d.abilities.bitwise:
                assert np.array_equal(joined, one)
            else:
                close(joined, one)
        none = d.score(2, ids[:12], targets)
        assert none.top_ids.shape == none.top_log_probs.shape == (12, 0)
        assert d.score(3, ids[:2], targets[:2], 131).top_ids.shape == (2, 131)

    def check_summaries(self) -> None:
        """Each row is summarized as if it were alone."""
        summarize = self.decoder.abilities.summarize
        found = summarize(self.logits[0])
        assert np.array_equal(found.best, self.logits[0].argmax(1))
        wide = self.logits[0].astype(np.float64)
        close(found.normalizers, np.log(np.exp(wide).sum(1)))
        for row, total in zip(self.logits[0], found.normalizers, strict=True):
            assert summarize(row[None]).normalizers[0] == total

    def check_refusals(self) -> None:
        """What a decoder must refuse, it refuses before it changes anything."""
        d = self.decoder
        d.run([Part(0, TEXTS[0][:5])])
        for call, error, match, hint in REFUSED:
            with pytest.raises(error, match=match) as caught:
                call(d)
            assert hint in caught.value.hint
            assert self.lengths() == [5, 0, 0, 0]
        for call in NO_WHOLE_NUMBERS:
            with pytest.raises(TypeError):
                call(d)
            assert self.lengths() == [5, 0, 0, 0]
        self.same(d.run([Part(0, TEXTS[0][5:6])]).logits, self.logits[0, 5:6])
        d.run([Part(0, [0] * 34)])  # all positions can be used
        assert self.lengths() == [40, 0, 0, 0]

    def check_close(self) -> None:
        """A closed decoder refuses every call; closing it again does nothing."""
        d = self.make()
        d.run([Part(0, [1])])
        d.close()
        d.close()
        calls: list[Callable[[], object]] = [
            lambda: d.run([Part(0, [1])]),
            lambda: d.score(0, [1], [1]),
            lambda: d.length(0),
            lambda: d.truncate(0, 0),
            lambda: d.copy(0, 1),
            lambda: d.copy(0, 0),
            lambda: d.free(0),
        ]
        for call in calls:
            with pytest.raises(DecoderError, match=r"used after close\(\)") as caught:
                call()
            assert caught.value.hint == "open another decoder"

    CHECKS: ClassVar[list[Callable[[Contract], None]]] = [
        check_one_by_one,
        check_mixed_parts,
        check_wants,
        check_cuts,
        check_results_stay,
        check_truncate_and_free,
        check_copy,
        check_score,
        check_summaries,
        check_refusals,
        check_close,
    ]


def hidden_of(found: Computed) -> tuple[NDArray[Any], ...]:
    assert found.hidden is not None
    return found.hidden


def relative(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest difference in units of the largest number."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    wide = logits - logits.max(1, keepdims=True).astype(np.float64)
    return wide - np.log(np.exp(wide).sum(1, keepdims=True))


def close(found: NDArray[Any], expected: NDArray[Any]) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-5)
