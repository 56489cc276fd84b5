"""A text does not depend on what runs beside it: 2,000 random schedules, bit for bit."""

from typing import Any

import pytest

from ogpt.generation.searching.beam import Beams
from ogpt.generation.searching.contrastive import Contrastive
from ogpt.generation.searching.prefixes import Prefixes
from ogpt.generation.searching.sampling import Sampling
from tests.generation import schedules
from tests.generation.schedules import same

SCHEDULES = 2000


def test_schedules_change_no_text() -> None:
    assert [seed for seed in range(SCHEDULES) if not same(seed)] == []


def test_the_schedules_have_what_could_go_wrong() -> None:
    """All kinds of text, prompts that share pages, prompts that are equal, and sliding windows."""
    texts = [schedules._asked(seed) for seed in range(schedules.TEXTS)]
    kinds = [type(asked.text()) for asked in texts]
    for kind in (Sampling, Beams, Contrastive):
        assert kinds.count(kind) > 9
    prompts = [tuple(asked.prompt) for asked in texts]
    assert len(set(prompts)) < len(prompts) - 5
    assert len({prompt[:64] for prompt in prompts}) < len(prompts) / 2
    sliding = [
        len(asked.prompt) + asked.settings.max_new_tokens - 1 > schedules.N_POSITIONS
        for asked in texts
    ]
    assert sum(sliding) > 9


def weak_keys(self: Prefixes, ids: Any) -> Any:
    """A hash that collides: the length alone."""
    yield from range(self._page, len(ids) + 1, self._page)


def uncompared(self: Prefixes, ids: Any) -> tuple[list[int], int]:
    for count, key in reversed(list(enumerate(self._keys(ids), 1))):
        if key in self._slots:
            return self._slots[key], count * self._page
    return [], 0


def keyed_by_slot(self: Sampling, number: int, slots: Any) -> None:
    START(self, number, slots)
    self._number = slots[0]


START = Sampling.start
FAULTS: dict[str, list[tuple[Any, str, Any]]] = {
    "pages are told by their hash alone": [
        (Prefixes, "_keys", weak_keys),
        (Prefixes, "find", uncompared),
    ],
    "random numbers are keyed by slot": [(Sampling, "start", keyed_by_slot)],
    "a window that has moved is found by the beginning of its text": [
        (Sampling, "held", lambda self: self._ids)
    ],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(schedules.TEXTS):
        schedules.alone(seed)  # without the fault
    for owner, name, broken in FAULTS[fault]:
        monkeypatch.setattr(owner, name, broken)
    assert sum(not same(seed) for seed in range(240)) > 2


def test_hashes_that_collide_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Prefixes, "_keys", weak_keys)
    assert all(same(seed) for seed in range(20))
