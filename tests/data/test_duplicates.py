"""Digests find new documents, in any order and any grouping."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ogpt.data.duplicates import Seen, hash_text


@given(groups=st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=12))
def test_new_means_not_there_before(groups: list[list[int]]) -> None:
    seen, known = Seen(), set[int]()
    for group in groups:
        new = seen.add(np.array(group, np.uint64)).tolist()
        for digest, is_new in zip(group, new, strict=True):
            assert is_new == (digest not in known)
            known.add(digest)


def test_memory_is_eight_bytes_a_document() -> None:
    seen = Seen()
    digests = np.random.default_rng(0).integers(0, 2**63, 100_000).astype(np.uint64)
    for group in np.split(digests, 1000):
        assert seen.add(group).all()
    assert sum(run.nbytes for run in seen._runs) == 800_000
    assert len(seen._runs) < 20
    assert not seen.add(digests).any()


def test_the_hash_is_pinned_so_that_splits_stay() -> None:
    assert hash_text(b"some text").digest == 16532154006803973620
    assert hash_text("naïve".encode()).share == 0.9114226405401717


def test_the_share_is_even() -> None:
    shares = [hash_text(f"document {number}".encode()).share for number in range(20_000)]
    held_out = sum(share < 0.05 for share in shares)
    assert abs(held_out - 1000) < 5 * (20_000 * 0.05 * 0.95) ** 0.5
