"""Ctrl-C and SIGTERM during training: the step in progress is finished first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requests(announce: Callable[[], None]) -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; the second one acts at once.

    Args:
        announce: Called once, when the stop was requested.
    """
    stop = threading.Event()
    announcements: list[threading.Thread] = []
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python delivers signals to the main thread alone
        return

    def request(number: int, frame: FrameType | None) -> None:
        stop.set()
        # In a thread: the signal may have interrupted a write to the very stream that announce
        # writes to, whose lock this thread holds.
        announcements.append(threading.Thread(target=announce))
        announcements[-1].start()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for thread in announcements:
            thread.join()
