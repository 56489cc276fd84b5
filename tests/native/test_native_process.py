"""The native decoder's threads and processes: idle, closed, forked, short of memory."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.decoding.calls import extend
from tests.native.models import native, random_ids, small_model

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads what Linux tells of threads, and forks"
)


def n_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_threads_live_until_close() -> None:
    before = n_threads()
    decoder = native(small_model(), threads=4)
    extend(decoder, 0, [1, 2])
    assert n_threads() == before + 3
    extend(decoder, 0, [1, 2])
    assert n_threads() == before + 3
    decoder.close()
    assert n_threads() == before


def test_what_is_forgotten_is_closed() -> None:
    before = n_threads()
    decoder = native(small_model(), threads=3)
    extend(decoder, 0, [1, 2])
    del decoder
    assert n_threads() == before


def test_idle_threads_sleep() -> None:
    decoder = native(small_model(), threads=3)
    extend(decoder, 0, [1, 2])
    time.sleep(0.2)
    process = psutil.Process()
    begun = sum(process.cpu_times()[:2])
    time.sleep(1)
    assert sum(process.cpu_times()[:2]) - begun < 0.1
    decoder.close()


def test_memory_is_given_back() -> None:
    model = small_model(vocab_size=60_000, n_embd=48)
    process = psutil.Process()
    native(model).close()
    held = process.memory_info().rss
    for _ in range(5):
        decoder = native(model)
        extend(decoder, 0, [1, 2])
        decoder.close()
    assert process.memory_info().rss - held < 10 * 2**20  # a copy has 12 MiB


def in_child(work: Callable[[], object]) -> int | None:
    """The exit code of a forked child that did the work; -9 where it hung."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(5)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    "threads",
    [
        1,
        3,
    ],
)
def test_a_fork_in_the_middle(threads: int) -> None:
    ids = random_ids(30, 131)
    with_threads = native(small_model(), threads=threads, slots=2)
    expected = extend(with_threads, 1, ids, "all")
    assert expected is not None
    extend(with_threads, 0, ids[:10])
    time.sleep(0.1)  # until the threads sleep

    def go_on() -> None:
        for _ in range(3):
            with_threads.truncate(0, 10)
            found = extend(with_threads, 0, ids[10:], "all")
            np.testing.assert_array_equal(found, expected[10:])

    def go_on_and_close() -> None:
        go_on()
        with_threads.close()

    assert in_child(go_on) == 0
    go_on()
    assert in_child(with_threads.close) == 0
    assert in_child(go_on_and_close) == 0
    go_on_and_close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_computes() -> None:
    decoder = native(small_model(n_positions=400, n_layer=4), threads=2, slots=2)
    ids = random_ids(400, 131)
    expected = extend(decoder, 1, ids)
    ended = threading.Event()

    def compute() -> None:
        while not ended.is_set():
            decoder.free(0)
            extend(decoder, 0, ids)

    def child() -> None:
        decoder.free(1)
        np.testing.assert_array_equal(extend(decoder, 1, ids), expected)

    worker = threading.Thread(target=compute)
    worker.start()
    try:
        assert [in_child(child) for _ in range(3)] == [0, 0, 0]
    finally:
        ended.set()
        worker.join()
    decoder.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_two_threads_fork_while_a_third_computes() -> None:
    decoder = native(small_model(n_positions=100), threads=2)
    ids = random_ids(100, 131)
    ended = threading.Event()
    children: list[int] = []

    def compute() -> None:
        while not ended.is_set():
            decoder.free(0)
            extend(decoder, 0, ids)

    def fork() -> None:
        children.extend(in_child(lambda: None) for _ in range(20))

    threads = [threading.Thread(target=target, daemon=True) for target in (compute, fork, fork)]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join(60)
    ended.set()
    threads[0].join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert children == [0] * 40
    decoder.close()


def test_threads_of_python_take_turns() -> None:
    ids = random_ids(40, 131)
    decoder = native(small_model(), threads=2, slots=4)
    expected = extend(decoder, 0, ids, "all")
    found: dict[int, list[bool]] = {slot: [] for slot in range(4)}

    def work(slot: int) -> None:
        for _ in range(10):
            decoder.free(slot)
            found[slot].append(np.array_equal(extend(decoder, slot, ids, "all"), expected))

    workers = [threading.Thread(target=work, args=(slot,)) for slot in found]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    decoder.close()
    assert all(len(same) == 10 and all(same) for same in found.values())


THREADS_THAT_CANNOT_BE_HAD = """
import resource, sys
from pathlib import Path
from ogpt.decoding.choice import open_decoder
from ogpt.errors import DecoderError
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        open_decoder(sys.argv[1], threads=300)
    except DecoderError as error:
        sys.stdout.write(f"{error}; {error.hint}\\n")
sys.stdout.write(str(len(list(Path("/proc/self/task").iterdir()))))
"""


def test_threads_that_cannot_be_had(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path)
    result = subprocess.run(
        [sys.executable, "-c", THREADS_THAT_CANNOT_BE_HAD, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    message = (
        "the native decoder cannot start 300 threads, or there is too little memory for them; "
        "use fewer threads"
    )
    assert result.stdout.count(message) == 2
    assert result.stdout.endswith("\n1")  # none is left behind


def test_closing_at_exit_is_not_needed(tmp_path: Path) -> None:
    small_model().save_pretrained(tmp_path)
    program = (
        "from ogpt.decoding.choice import open_decoder\n"
        "from ogpt.generation.protocol.decoder import Part\n"
        f"decoder = open_decoder({str(tmp_path)!r}, threads=3)\n"
        "decoder.run([Part(0, [1, 2])])\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
