"""Pages of keys and values: shared as long as they are equal, never written while shared."""

from collections.abc import Iterator

import numpy as np
import pytest

from ogpt.decoding.native.library import PAGE
from ogpt.decoding.native.native_decoder import NativeDecoder
from tests.decoding.calls import extend, step
from tests.native.models import native, random_ids, small_model


@pytest.fixture
def decoder() -> Iterator[NativeDecoder]:
    opened = native(small_model(n_positions=3 * PAGE), slots=3)
    yield opened
    opened.close()


def shared(decoder: NativeDecoder) -> int:
    assert decoder._core is not None
    return decoder._core.shared_pages


def test_copies_share_pages_until_one_is_written(decoder: NativeDecoder) -> None:
    ids = random_ids(2 * PAGE + 2, decoder.vocab_size)
    extend(decoder, 0, ids)
    decoder.copy(0, 1)
    decoder.copy(1, 2)
    assert decoder.abilities.page == PAGE
    assert shared(decoder) == 3
    first = step(decoder, [1], [5])
    assert shared(decoder) == 3  # slots 0 and 2 still have the page that slot 1 left
    step(decoder, [2], [6])
    assert shared(decoder) == 2
    decoder.free(0)
    assert shared(decoder) == 2
    decoder.free(2)
    assert shared(decoder) == 0
    extend(decoder, 0, ids, "none")
    assert np.array_equal(step(decoder, [0], [5]), first)


def test_what_a_slot_writes_others_do_not_see(decoder: NativeDecoder) -> None:
    ids = random_ids(PAGE + 6, decoder.vocab_size)
    extend(decoder, 0, ids, "none")
    decoder.copy(0, 1)
    decoder.truncate(1, 3)
    extend(decoder, 1, [7, 7, 7], "none")  # over positions of a page that slot 0 holds too
    found = step(decoder, [0], [9])
    decoder.free(1)
    extend(decoder, 1, ids, "none")
    assert np.array_equal(found, step(decoder, [1], [9]))


def test_every_slot_can_be_filled_however_pages_were_shared(decoder: NativeDecoder) -> None:
    full = decoder.n_positions
    for source in (0, 1, 2, 0):
        decoder.free(source)
        extend(decoder, source, random_ids(PAGE // 2, decoder.vocab_size, source), "none")
        for target in range(3):
            decoder.copy(source, target)
        for slot in range(3):
            rest = random_ids(full - decoder.length(slot), decoder.vocab_size, slot)
            extend(decoder, slot, rest, "none")
        assert shared(decoder) == 0
