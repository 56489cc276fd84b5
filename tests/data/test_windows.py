"""Windows use each token at most once an epoch, and targets are the tokens that follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ogpt.data.batch import IGNORED
from ogpt.data.shards import TokenStream
from ogpt.data.windows import Windows
from ogpt.errors import DataError

MakeStream = Callable[..., TokenStream]

fixture_is_stateless = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)


@fixture_is_stateless
@given(
    shards=st.lists(st.integers(1, 90), min_size=1, max_size=4),
    n_ctx=st.integers(1, 16),
    seed=st.integers(0, 5),
)
def test_an_epoch_uses_each_token_at_most_once(
    make_stream: MakeStream, shards: list[int], n_ctx: int, seed: int
) -> None:
    stream = make_stream(*([size] for size in shards))
    windows = Windows(stream, n_ctx, seed=seed)
    if len(stream) <= n_ctx:
        with pytest.raises(DataError):
            _ = windows.n_windows
        return
    for epoch in range(3):
        batch = windows.batch(epoch * windows.n_windows, windows.n_windows)
        used = batch.ids.ravel().tolist()
        assert len(set(used)) == len(used) == windows.n_windows * n_ctx
        assert len(stream) - len(used) < 2 * n_ctx  # what an offset costs
        assert np.array_equal(batch.targets, batch.ids + 1)
        assert np.array_equal(batch.ids, batch.ids[:, :1] + np.arange(n_ctx))
        assert batch.documents is None


@fixture_is_stateless
@given(
    shards=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=9), min_size=1, max_size=3),
    n_ctx=st.integers(1, 16),
)
def test_packed_windows_hold_each_document_once(
    make_stream: MakeStream, shards: list[list[int]], n_ctx: int
) -> None:
    stream = make_stream(*shards)
    windows = Windows(stream, n_ctx, packed=True)
    lengths = [length for shard in shards for length in shard]
    ends = (np.cumsum(lengths) - 1).tolist()
    if max(lengths) == 1:
        with pytest.raises(DataError):
            _ = windows.n_windows
        return
    for batch in (windows.batch(windows.n_windows, windows.n_windows), *windows.sequential(10**6)):
        assert batch.documents is not None
        real = batch.documents >= 0
        used = batch.ids[real].tolist()
        assert len(set(used)) == len(used)
        learned = sorted(batch.targets[batch.targets != IGNORED].tolist())
        starts = {0, *(end + 1 for end in ends)}
        assert learned == [token for token in range(len(stream)) if token not in starts]
        follows = real & (batch.targets != IGNORED)
        assert np.array_equal(batch.targets[follows], batch.ids[follows] + 1)
        assert set(batch.ids[real & ~follows].tolist()) <= set(ends)
        assert not batch.ids[~real].any()
        assert (batch.targets[~real] == IGNORED).all()
        for ids, documents in zip(batch.ids, batch.documents, strict=True):
            for number in range(documents.max() + 1):
                piece = ids[documents == number]
                assert np.array_equal(piece, piece[0] + np.arange(len(piece)))
                assert np.searchsorted(ends, piece[0]) == np.searchsorted(ends, piece[-1])


@pytest.mark.parametrize("packed", [False, True])
def test_a_batch_depends_on_seed_and_indices_alone(make_stream: MakeStream, packed: bool) -> None:
    stream = make_stream([7, 9, 30], [16, 3, 3, 11])
    windows = Windows(stream, 8, seed=3, packed=packed)
    per_epoch = windows.n_windows
    whole = windows.batch(0, 3 * per_epoch)
    again = Windows(stream, 8, seed=3, packed=packed)
    for first, count in ((per_epoch - 2, 4), (0, 1), (per_epoch, 1), (2 * per_epoch + 1, 2)):
        part = again.batch(first, count)
        for name in ("ids", "targets", "documents"):
            seen, expected = getattr(part, name), getattr(whole, name)
            assert (seen is None) == (expected is None)
            if expected is not None:
                assert np.array_equal(seen, expected[first : first + count])
    other = Windows(stream, 8, seed=4, packed=packed).batch(0, per_epoch)
    assert not np.array_equal(other.ids, whole.ids[:per_epoch])


def test_epochs_differ_in_offset_and_order(make_stream: MakeStream) -> None:
    windows = Windows(make_stream([2_000]), 10)
    epochs = [windows.batch(epoch * 199, 199).ids[:, 0] for epoch in range(20)]
    assert windows.n_windows == 199
    assert len({int(starts[0]) for starts in epochs}) > 15
    offsets = {int(starts.min()) for starts in epochs}
    assert offsets <= set(range(10))
    assert len(offsets) > 5


def test_the_shortest_text(make_stream: MakeStream) -> None:
    windows = Windows(make_stream([9]), 8)
    assert windows.n_windows == 1
    batch = windows.batch(5, 2)
    assert batch.ids.tolist() == [list(range(8))] * 2
    assert batch.targets.tolist() == [list(range(1, 9))] * 2


def test_a_text_shorter_than_a_window_is_refused(make_stream: MakeStream) -> None:
    windows = Windows(make_stream([8]), 8)
    with pytest.raises(DataError, match=r"has 8 tokens; one window needs 9") as caught:
        windows.batch(0, 1)
    assert "model.n_positions" in caught.value.hint


def test_documents_of_one_token_teach_nothing(make_stream: MakeStream) -> None:
    windows = Windows(make_stream([1, 1, 1]), 8, packed=True)
    with pytest.raises(DataError, match="none of the 3 documents has 2 tokens") as caught:
        next(windows.sequential(4))
    assert "data.windows=contiguous" in caught.value.hint


@pytest.mark.parametrize("size", [1, 7, 8, 9, 50])
def test_sequential_reads_every_token_once(make_stream: MakeStream, size: int) -> None:
    batches = list(Windows(make_stream([size]), 8).sequential(3))
    ids = np.concatenate([batch.ids for batch in batches]).ravel()
    targets = np.concatenate([batch.targets for batch in batches]).ravel()
    assert ids[:size].tolist() == list(range(size))
    assert not ids[size:].any()
    assert targets[: size - 1].tolist() == list(range(1, size))
    assert (targets[size - 1 :] == IGNORED).all()
    assert [len(batch.ids) for batch in batches[:-1]] == [3] * (len(batches) - 1)


def test_packing_wastes_little(make_stream: MakeStream) -> None:
    lengths = np.random.default_rng(0).integers(2, 65, 800).tolist()
    windows = Windows(make_stream(lengths), 64, packed=True)
    documents = windows.batch(0, windows.n_windows).documents
    assert documents is not None
    assert (documents >= 0).mean() > 0.95
