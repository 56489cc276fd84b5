import numpy as np
import pytest

from ogpt.generation.searching.prefixes import Prefixes
from ogpt.generation.searching.slot_pool import SlotPool
from tests.markov import StandInDecoder, contextual

IDS = np.random.default_rng(0).integers(0, 9, 40).tolist()


def test_the_longest_beginning_in_whole_pages_is_found() -> None:
    prefixes = Prefixes(8)
    prefixes.hold(0, IDS[:20])
    prefixes.hold(1, IDS[:11])
    prefixes.hold(2, [*IDS[:30], 3, 3, 3])
    assert prefixes.find(IDS) == ([2], 24)
    assert prefixes.find(IDS[:17]) == ([0, 2], 16)
    assert prefixes.find(IDS[:15]) == ([0, 1, 2], 8)
    assert prefixes.find(IDS[:7]) == ([], 0)
    assert prefixes.find([8 - IDS[0], *IDS[1:]]) == ([], 0)
    assert prefixes.find([*IDS[:8], 8 - IDS[8], *IDS[9:]]) == ([0, 1, 2], 8)


def test_what_a_slot_held_before_is_forgotten() -> None:
    prefixes = Prefixes(8)
    prefixes.hold(0, IDS)
    prefixes.hold(0, IDS[8:])
    assert prefixes.find(IDS) == ([], 0)
    assert prefixes.find(IDS[8:]) == ([0], 32)
    prefixes.drop(0)
    prefixes.drop(0)
    assert prefixes.find(IDS[8:]) == ([], 0)
    assert prefixes._slots == prefixes._ids == {}


def test_equal_hashes_of_other_tokens_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Prefixes, "_keys", lambda self, ids: range(len(ids) // 8))
    prefixes = Prefixes(8)
    prefixes.hold(0, IDS[1:])
    prefixes.hold(1, [*IDS[:9], *IDS])
    assert prefixes.find(IDS) == ([1], 8)


def slot_pool(slots: int) -> tuple[SlotPool, StandInDecoder]:
    decoder = contextual(9, n_positions=300, slots=slots)
    decoder.abilities = decoder.abilities._replace(page=8)
    return SlotPool(decoder), decoder


def filled(slots: SlotPool, decoder: StandInDecoder, ids: list[int]) -> int:
    """A slot that was allocated and holds the ids; the decoder's calls were not needed for them."""
    [slot] = slots.allocate(1)
    assert slots.fill(slot, ids)
    decoder.held[slot] = list(ids)
    return slot


def test_the_least_recently_used_slot_is_allocated_first() -> None:
    slots, decoder = slot_pool(3)
    first, second = filled(slots, decoder, IDS), filled(slots, decoder, IDS[5:])
    slots.release([second], IDS[5:])
    slots.release([first], IDS)
    assert slots.allocate(1) == [2]  # never used
    assert slots.allocate(1) == [second]
    assert slots.fill(second, [*IDS[:9], 0])  # now the first one's beginning
    assert decoder.held == [IDS, IDS[:8], []]
    assert slots.allocate(2) == []
    assert slots.allocate(1) == [first]
    assert slots.fill(first, [*IDS[:30], 0])  # its own beginning stays in place
    assert decoder.held[first] == IDS[:24]
    assert decoder.calls == ["copy 0 1"]


def test_a_slot_that_served_is_kept_longer() -> None:
    slots, decoder = slot_pool(3)
    for ids in (IDS, IDS[1:], IDS[2:]):
        slots.release([filled(slots, decoder, ids)], ids)
    [slot] = slots.allocate(1)
    assert slots.fill(slot, [*IDS[1:20], 0])
    assert decoder.held[slot] == IDS[1:17]
    assert slots.allocate(1) == [2]  # though slot 1 was used before it


def test_of_several_slots_the_one_with_most_tokens_comes_first() -> None:
    slots, decoder = slot_pool(3)
    slots.release([filled(slots, decoder, IDS)], IDS)
    assert slots.allocate(3) == [0, 1, 2]
    assert slots.fill(0, IDS[:20])
    assert decoder.held == [IDS[:16], [], []]
    slots.release([0, 1, 2], IDS[:20])
    assert slots.allocate(2) == [2, 1]  # emptied ones go first


def test_what_is_not_whole_yet_is_waited_for() -> None:
    slots, decoder = slot_pool(2)
    first, second = slots.allocate(2)
    assert slots.fill(first, IDS)
    assert not slots.fill(second, IDS[:20])
    decoder.held[first] = IDS[:15]
    assert not slots.fill(second, IDS[:20])
    decoder.held[first] = IDS[:16]
    assert slots.fill(second, IDS[:20])
    assert decoder.held[second] == IDS[:16]
    assert slots.fill(second, IDS[:20], reuse=False)
    assert decoder.held[second] == []


def test_only_bitwise_decoders_copy_beginnings() -> None:
    slots, decoder = slot_pool(2)
    decoder.abilities = decoder.abilities._replace(bitwise=False)
    first = filled(slots, decoder, IDS)
    slots.release([first], IDS)
    [second] = slots.allocate(1)
    assert slots.fill(second, IDS)
    assert decoder.calls == []
    assert decoder.held[second] == []
