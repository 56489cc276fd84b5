"""Ctrl-C, SIGTERM and SIGHUP during training: the step in progress is finished first."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requests(announce: Callable[[], None]) -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C, SIGTERM or SIGHUP sets.

    A second Ctrl-C or SIGTERM acts at once. A second SIGHUP does not: shell and kernel may both
    send one when a terminal is closed. An ignored SIGHUP stays ignored, as nohup wants it.

    Args:
        announce: Called once, when the stop was requested.
    """
    stop = threading.Event()
    announcements: list[threading.Thread] = []
    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python delivers signals to the main thread alone
        return

    def request(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number not in (signal.SIGINT, signal.SIGTERM):
            return
        stop.set()
        # In a thread: the signal may have interrupted a write to the very stream that announce
        # writes to, whose lock this thread holds.
        announcements.append(threading.Thread(target=announce))
        announcements[-1].start()
        if number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, before[signal.Signals(number)])

    numbers = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for thread in announcements:
            thread.join()
