"""A loss in the units that people compare."""

import math

import pytest

from ogpt.generation.protocol.perplexity import bits_per_byte, perplexity


def test_numbers_for_people() -> None:
    assert perplexity(math.log(18.4)) == pytest.approx(18.4)
    assert perplexity(1e6) == math.inf
    assert bits_per_byte(math.log(2), 100, 50) == pytest.approx(2.0)
