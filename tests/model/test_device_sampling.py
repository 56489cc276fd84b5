"""Tokens chosen on the device are those that the host chooses of the same logits and numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from ogpt.generation.choosing.random_numbers import sample, uniform
from ogpt.generation.choosing.rules import warp
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Draw
from ogpt.generation.protocol.summaries import log_sum_exp
from ogpt.model.cuda import device_sampling
from ogpt.model.cuda.device_sampling import Draws, choose, kind_of, pick, rows_of_draws
from ogpt.model.cuda.static_decoder import StaticDecoder
from tests.decoding.calls import extend, step
from tests.model.devices import ON_EACH
from tests.model.parity import random_model

DRAWS = [
    Draw(),
    Draw(do_sample=True),
    Draw(do_sample=True, temperature=0.7),
    Draw(do_sample=True, temperature=1e-40),
    Draw(do_sample=True, top_k=5),
    Draw(do_sample=True, top_k=10**6, temperature=3.0),
    Draw(do_sample=True, top_p=0.8),
    Draw(do_sample=True, min_p=0.1),
    Draw(do_sample=True, temperature=1.3, top_k=40, top_p=0.9, min_p=0.02),
    Draw(do_sample=True, top_p=1e-6),
    Draw(do_sample=True, min_p=1.0),
]


def on_host(logits: np.ndarray, draw: Draw, number: float) -> tuple[int, float]:
    """As `search` chooses."""
    settings = GenerationSettings(**draw._asdict())
    if draw.do_sample:
        ids, left = warp(settings, logits)
        place = sample(left, number)
        token = int(place if ids is None else ids[place])
    else:
        token = int(logits.argmax())
    return token, float(logits[token]) - log_sum_exp(logits)


def on_device(
    logits: np.ndarray, draws: list[Draw], numbers: np.ndarray, device: str = "cpu", **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    given = Draws(*torch.from_numpy(rows_of_draws(draws, logits.shape[1])).to(device))
    found = choose(
        torch.from_numpy(logits).to(device),
        given,
        torch.from_numpy(numbers).to(device),
        options.get("kind", kind_of(draws)),
    )
    return found[0].cpu().numpy(), found[1].cpu().numpy()


def differing(found: np.ndarray, logits: np.ndarray, draws: list[Draw], numbers: Any) -> int:
    expected = [on_host(*row)[0] for row in zip(logits, draws, numbers, strict=True)]
    return int((found != expected).sum())


@ON_EACH
@pytest.mark.parametrize("vocab_size", [1, 3, 255, 256, 1000, 40_478])
def test_the_same_tokens_as_on_the_host(device: str, vocab_size: int) -> None:
    V = vocab_size
    numbers = np.random.default_rng(V)
    rows = 20 * len(DRAWS) if V < 40_000 else len(DRAWS)
    draws = (DRAWS * 20)[:rows]
    logits = (4 * numbers.standard_normal((rows, V))).astype(np.float32)
    logits[::7] = np.round(logits[::7])  # many equal ones
    uniforms = numbers.random(rows)
    found, log_probs = on_device(logits, draws, uniforms, device)
    assert differing(found, logits, draws, uniforms) == 0  # a tie is a matter of one in a million
    expected = [on_host(*row)[1] for row in zip(logits, draws, uniforms, strict=True)]
    np.testing.assert_allclose(log_probs, expected, atol=2e-5)


@pytest.mark.parametrize("kind", ["greedy", "plain", "filtered"])
def test_each_kind_serves_what_asks_for_less(kind: str) -> None:
    least = {"greedy": 0, "plain": 1, "filtered": 2}[kind]
    draws = [draw for draw in DRAWS if least >= {"greedy": 0, "plain": 1}.get(kind_of([draw]), 2)]
    logits = np.random.default_rng(0).standard_normal((len(draws), 300)).astype(np.float32)
    uniforms = np.linspace(0, 0.999, len(draws))
    found, _ = on_device(logits, draws, uniforms, kind=kind)
    assert differing(found, logits, draws, uniforms) == 0
    assert kind_of(draws) == kind


def test_tokens_ruled_out_and_the_ends_of_the_numbers() -> None:
    logits = np.full((3, 600), -np.inf, np.float32)
    logits[:, [5, 300, 599]] = 0.0
    found, _ = on_device(logits, [DRAWS[1]] * 3, np.array([0.0, 0.5, 1 - 2.0**-53]))
    assert found.tolist() == [5, 300, 599]
    assert pick(torch.zeros(1, 600), torch.zeros(1)).item() == 0  # of no weights, some id


SHIFTED = device_sampling._first_above
FAULTS = {
    "the token before": (
        "_first_above",
        lambda sums, target: (SHIFTED(sums, target) - 1).clamp(min=0),
    ),
    "nothing filtered": (
        "_kept",
        lambda logits, scaled, draws: torch.ones_like(logits, dtype=torch.bool),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_show(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_sampling, *FAULTS[fault])
    numbers = np.random.default_rng(0)
    draws = DRAWS * 10
    logits = numbers.standard_normal((len(draws), 1000)).astype(np.float32)
    uniforms = numbers.random(len(draws))
    found, _ = on_device(logits, draws, uniforms)
    assert differing(found, logits, draws, uniforms) > 20


@ON_EACH
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("draws", [[DRAWS[0]], DRAWS[:3], DRAWS[:1] + DRAWS[4:9]], ids=len)
def test_what_is_written_is_what_steps_and_the_host_write(
    device: str, deterministic: bool, draws: list[Draw]
) -> None:
    steps, count = 37, len(draws)  # more than one run
    model = random_model(4, n_positions=60, vocab_size=131, n_embd=48, n_head=3, n_layer=2)
    decoder = StaticDecoder(model.to(device), 7, deterministic=deterministic)
    slots = list(range(7))[-count:][::-1]
    numbers = np.array([[uniform(9, row, step) for row in range(count)] for step in range(steps)])
    for slot in slots:
        extend(decoder, slot, [slot, 2, 3], "none")
    newest = list(range(40, 40 + count))
    written = decoder.write(slots, newest, draws, numbers)
    assert written.ids.shape == written.log_probs.shape == (steps, count)
    assert [decoder.length(slot) for slot in slots] == [3 + steps] * count
    for slot in slots:
        decoder.truncate(slot, 3)
    for row in range(steps):
        logits = step(decoder, slots, newest)
        choices = [on_host(*each) for each in zip(logits, draws, numbers[row], strict=True)]
        newest = [token for token, _ in choices]
        assert written.ids[row].tolist() == newest
        log_probs = [log_prob for _, log_prob in choices]
        np.testing.assert_allclose(written.log_probs[row], log_probs, atol=1e-5)
