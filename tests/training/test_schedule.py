"""Learning-rate schedules, step by step."""

from itertools import pairwise

import pytest

from ogpt.training.schedule import warmup_cosine, warmup_linear_2018


def test_the_papers_schedule() -> None:
    factors = [warmup_cosine(step, 2000, 10_000) for step in range(10_001)]
    assert factors[0] == 1 / 2000
    assert factors[1999] == factors[2000] == 1.0
    assert factors[6000] == pytest.approx(0.5)
    assert factors[10_000] == 0.0
    assert all(later <= sooner for sooner, later in pairwise(factors[2000:]))


def test_a_run_shorter_than_its_warm_up() -> None:
    factors = [warmup_cosine(step, 500, 100) for step in range(101)]
    assert factors[:11] == [*(pytest.approx((step + 1) / 10) for step in range(10)), 1.0]
    assert factors[100] == 0.0
    assert all(later <= sooner for sooner, later in pairwise(factors[10:]))
    assert [warmup_cosine(step, 5, 5) for step in (0, 5)] == [1.0, 0.0]
    assert warmup_cosine(0, 0, 1) == 1.0


def test_the_linear_schedule_of_2018() -> None:
    factors = [warmup_linear_2018(step, 0.2, 10) for step in range(10)]
    wanted = [0.5 * 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    assert factors == pytest.approx(wanted)
    assert warmup_linear_2018(0, 0.0, 10) == 0.9  # no warm-up
