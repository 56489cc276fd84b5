"""A search whose tokens are chosen on the device writes what it writes without."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ogpt.config.ranges import MAX_SEED
from ogpt.generation.choosing.random_numbers import uniform, uniforms
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Draw
from ogpt.generation.searching import sampling as searching
from ogpt.generation.searching.sampling import search
from ogpt.generation.searching.text import Token
from ogpt.model.cuda.static_decoder import StaticDecoder
from tests.model.parity import random_model

PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [1, 2, 3], list(range(16))]


class Counted(StaticDecoder):
    """Counts the calls that let the device choose."""

    writes = 0

    def write(self, *arguments: Any) -> Any:
        self.writes += 1
        return super().write(*arguments)


def opened(on_device: bool, slots: int, deterministic: bool = False) -> Counted:
    model = random_model(5, n_positions=20, vocab_size=61, n_embd=48, n_head=3, n_layer=2)
    decoder = Counted(model, slots, deterministic=deterministic)
    decoder.abilities = decoder.abilities._replace(device_sampling=on_device)
    return decoder


def found(
    asked: GenerationSettings, on_device: bool, slots: int, deterministic: bool = False, **more: Any
) -> tuple[list[list[Token]], int]:
    """The tokens of each continuation, and how often the device chose."""
    decoder = opened(on_device, slots, deterministic)
    rows: dict[int, list[Token]] = {}
    for token in search(decoder, PROMPTS, asked, **more):
        rows.setdefault(token.continuation, []).append(token)
    assert [decoder.length(slot) for slot in range(slots)] == [0] * slots
    return [rows[number] for number in sorted(rows)], decoder.writes


def differ(found: list[list[Token]], expected: list[list[Token]]) -> bool:
    flat, wanted = ([token for row in rows for token in row] for rows in (found, expected))
    same = [one._replace(log_prob=0.0) for one in flat] == [
        one._replace(log_prob=0.0) for one in wanted
    ]
    return not same or not np.allclose(
        [one.log_prob for one in flat], [one.log_prob for one in wanted], atol=1e-4
    )


ASKED: list[dict[str, Any]] = [
    {"do_sample": False},
    {"num_return_sequences": 3},
    {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "seed": 4},
    {"eos_token_id": (3, 7, 11, 20, 33), "num_return_sequences": 2, "seed": 9},
    {"max_new_tokens": 1},
    {"max_new_tokens": 10, "seed": 2},
]


@pytest.mark.parametrize("slots", [1, 3, 16])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_same_as_on_the_host(asked: dict[str, Any], slots: int) -> None:
    settings = GenerationSettings(**{"max_new_tokens": 27, **asked})  # longer ones slide
    expected, none = found(settings, False, slots)
    written, writes = found(settings, True, slots)
    assert not differ(written, expected)
    assert none == 0
    assert (writes > 0) == (settings.max_new_tokens > 1)


def test_ends_of_the_caller_are_told_each_token_until_the_end() -> None:
    def told(on_device: bool) -> list[list[int]]:
        heard: dict[int, list[int]] = {}

        def ends(tokens: Sequence[Token]) -> set[int]:
            for number, token_id, *_ in tokens:
                heard.setdefault(number, []).append(token_id)
            return {number for number, ids in heard.items() if len(ids) == number + 5}

        found(GenerationSettings(max_new_tokens=30), on_device, 2, ends=ends)
        return [heard[number] for number in range(len(PROMPTS))]

    assert [len(ids) for ids in told(True)] == [5, 6, 7, 8, 9]
    assert told(True) == told(False)


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        ({"typical_p": 0.9}, {}),
        ({"epsilon_cutoff": 0.01}, {}),
        ({"remove_invalid_values": True}, {}),
        ({"repetition_penalty": 1.1}, {}),
        ({"suppress_tokens": (3,)}, {}),
        ({}, {"watch": lambda *told: None}),
        ({}, {"top_logprobs": 2}),
    ],
    ids=["typical", "epsilon", "invalid", "penalty", "ban", "watch", "likeliest"],
)
def test_what_needs_logits_stays_on_the_host(asked: dict[str, Any], more: dict[str, Any]) -> None:
    settings = GenerationSettings(max_new_tokens=6, **asked)
    assert found(settings, True, 4, **more)[1] == 0


def test_one_text_alone_is_drafted_where_that_is_exact() -> None:
    asked = GenerationSettings(max_new_tokens=6)
    assert found(asked, True, 1, deterministic=True)[1] == 0
    written, writes = found(asked, True, 5, deterministic=True)
    assert writes > 0
    assert not differ(written, found(asked, False, 5, deterministic=True)[0])


FAULTS = {
    "numbers of the token before": (
        "uniforms",
        lambda seed, sample, first, count: uniforms(seed, sample, first - 1, count),
    ),
    "another temperature": (
        "_draw",
        lambda decoder, asked: (
            Draw(do_sample=True, temperature=1.3) if decoder.abilities.device_sampling else None
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_shows(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = GenerationSettings(max_new_tokens=9)
    expected, _ = found(asked, False, 3)
    assert not differ(found(asked, True, 3)[0], expected)
    monkeypatch.setattr(searching, *FAULTS[fault])
    assert differ(found(asked, True, 3)[0], expected)


def test_draws_in_a_row_are_those_one_by_one() -> None:
    expected = [uniform(MAX_SEED, 7, draw) for draw in range(5, 18)]
    assert uniforms(MAX_SEED, 7, 5, 13).tolist() == expected
