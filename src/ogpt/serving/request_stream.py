"""What a request gets: pieces of its texts, or results of its work, from the engine's thread.

A reader is a thread (`for`) or a coroutine (`async for`). A slow one holds up nobody: its pieces
wait in memory, which the length of the request limits.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from ogpt.generation.searching.text import Token
from ogpt.generation.texts.continuing import Generation

T = TypeVar("T")


class Piece(NamedTuple):
    """What one token adds to a continuation."""

    number: int
    """Of the continuation in its request; those of the first prompt come first."""
    text: str
    """The next text, often empty: words are shown when they are whole."""
    token: Token | None
    """None where a continuation ends without a new token, and with beams, which end at once."""
    generation: Generation | None
    """The whole continuation, with its last piece."""


class RequestTimes:
    """When a request was submitted, got slots, had its first token, and ended; in seconds.

    Attributes:
        submitted: By the clock of the engine, as are all.
        started: None while it waits, as are all that have not happened.
        first_token: With beams, of the first step; of work, the first result.
        ended: All continuations ended, or the request failed or was cancelled.
        gaps: Seconds between two steps that gave a continuation tokens, of all continuations.
        prompt_tokens: A prompt counts once, whatever its number of continuations; of work, the
            tokens that it computed.
        generation_tokens: As in EngineCounters.
        n: Number of continuations; 0 of work.
    """

    def __init__(self, submitted: float, prompt_tokens: int = 0, n: int = 0) -> None:
        self.submitted = submitted
        self.started: float | None = None
        self.first_token: float | None = None
        self.ended: float | None = None
        self.gaps: list[float] = []
        self.prompt_tokens = prompt_tokens
        self.generation_tokens = 0
        self.n = n

    def start(self, now: float, token: bool = False) -> None:
        """Record that a text has slots, or a token too; the first time counts."""
        if self.started is None:
            self.started = now
        if token and self.first_token is None:
            self.first_token = now


class ResultStream(Generic[T]):
    """What comes of a request, for one reader.

    Leaving a `with` block cancels what has not ended. Iteration raises the error of a request that
    fails, after what came before.

    Args:
        cancel: Called once, by `cancel` of a request that has not ended; any thread.
        times: Of the request.
    """

    def __init__(self, cancel: Callable[[], None], times: RequestTimes) -> None:
        self.times = times
        self._cancel = cancel
        self._items: deque[T] = deque()
        self._lock = threading.Lock()  # taken twice for each token
        self._ready = threading.Condition(self._lock)
        self._waiter: asyncio.Future[None] | None = None
        self._whole = False  # the reader needs nothing before the end
        self._ended = False
        self._error: Exception | None = None

    def cancel(self) -> None:
        """End the request before the next step of the engine, and the iteration at once."""
        with self._lock:
            ended, self._ended = self._ended, True
            self._items.clear()
            self._error = None
        wake([self])
        if not ended:
            self._cancel()

    def put(self, item: T) -> None:
        """Add an item; the engine calls `wake` after the last one of a step."""
        with self._lock:
            if not self._ended:
                self._items.append(item)

    def end(self, error: Exception | None = None) -> None:
        """End the iteration after the items so far, with an error if there is one."""
        with self._lock:
            if not self._ended:
                self._ended, self._error = True, error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with self._ready:
            self._ready.wait_for(lambda: self._items or self._ended)
            if self._has_next():
                return self._items.popleft()
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            with self._lock:
                if self._has_next():
                    return self._items.popleft()
                if self._ended:
                    break
                waiter = self._begin_to_wait()
            await self._woken(waiter)
        raise StopAsyncIteration

    async def arrived(self) -> list[T]:
        """Wait for items, and return all that there are; none at the end.

        Raises:
            Exception: the request has failed, and all items before that were returned.
        """
        while True:
            with self._lock:
                if self._has_next():
                    found = list(self._items)
                    self._items.clear()
                    return found
                if self._ended:
                    return []
                waiter = self._begin_to_wait()
            await self._woken(waiter)

    def _begin_to_wait(self) -> asyncio.Future[None]:
        """A new waiter; the lock is held."""
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter

    async def _woken(self, waiter: asyncio.Future[None]) -> None:
        try:
            await waiter
        finally:
            self._waiter = None

    async def _all(self) -> list[T]:
        """All that comes; the reader is woken once, at the end."""
        self._whole = True
        found: list[T] = []
        while items := await self.arrived():
            found += items
        return found

    def _has_next(self) -> bool:
        """Whether there is an item; raises the error after the last one."""
        if self._items:
            return True
        error, self._error = self._error, None
        if error is not None:
            raise error
        return False


class RequestStream(ResultStream[Piece]):
    """The pieces of a request as they come."""

    def generations(self) -> list[Generation]:
        """Wait for all continuations; return them in order."""
        return _in_order(list(self))

    async def gather(self) -> list[Generation]:
        """As `generations`, without holding up the event loop."""
        return _in_order(await self._all())


class WorkStream(ResultStream[T]):
    """The results of work as they come."""

    def results(self) -> list[T]:
        """Wait for all results."""
        return list(self)

    async def gather(self) -> list[T]:
        """As `results`, without holding up the event loop."""
        return await self._all()


S = TypeVar("S", bound=ResultStream[Any])


def wake(streams: Iterable[S]) -> list[S]:
    """Wake the readers of streams, each event loop once; return those whose loop is closed."""
    waiting = defaultdict(list)
    lost = []
    for stream in streams:
        with stream._lock:
            if stream._waiter is None:
                stream._ready.notify_all()  # threads
            else:
                loop = stream._waiter.get_loop()
                if stream._ended or not stream._whole:
                    waiting[loop].append((stream, stream._waiter))
                elif loop.is_closed():
                    lost.append(stream)
    for loop, found in waiting.items():
        try:
            loop.call_soon_threadsafe(_resolve, [waiter for _, waiter in found])
        except RuntimeError:  # the loop is closed: nobody reads any more
            lost += [stream for stream, _ in found]
    return lost


def _resolve(waiters: Iterable[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def _in_order(pieces: Iterable[Piece]) -> list[Generation]:
    """The continuations among all pieces of a request."""
    found = {piece.number: piece.generation for piece in pieces if piece.generation is not None}
    return [found[number] for number in sorted(found)]
