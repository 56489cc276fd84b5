"""What a request holds while it is served, its warnings, and the client that may leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from starlette.requests import ClientDisconnect

from ogpt.errors import StrictNotice
from ogpt.notices import Notice, listening, tell
from ogpt.serving.schemas import ApiRequest, ApiWarning

T = TypeVar("T")

_MOST_NAMES, _LONGEST_NAME = 20, 100  # of fields in a warning, and characters of each


async def _scope() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as scope:
        yield scope


Scope = Annotated[AsyncExitStack, Depends(_scope)]
"""What is entered here is held until the whole response is sent, or the client has left."""


@contextmanager
def listen(request: Request, body: ApiRequest) -> Iterator[list[ApiWarning]]:
    """Collect the notices of the block as warnings; the first are unknown fields of the body.

    Raises:
        StrictNotice: at the first notice, if the server is strict.
    """
    warnings: list[ApiWarning] = []
    strict: bool = request.app.state.settings.strict

    def take(notice: Notice) -> None:
        if strict:
            raise StrictNotice(
                notice.message, hint="change the request, or ask a server without --strict"
            )
        warnings.append(ApiWarning(code=notice.kind, message=notice.message))

    with listening(take):
        if body.unknown:
            tell("fields-ignored", names=_names(body.unknown))
        yield warnings


def _names(unknown: Sequence[str]) -> str:
    """Names of fields, as much of them as an answer should repeat."""
    # escaped: JSON can name a field with half a surrogate pair, which no answer can hold
    shown = ", ".join(ascii(name[:_LONGEST_NAME]) for name in unknown[:_MOST_NAMES])
    more = len(unknown) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


async def unless_gone(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """Wait for an answer, or cancel it when the client leaves.

    Servers do not cancel a request whose client has left before the answer begins.

    Args:
        request: Its body was read.
        answer: What computes the answer.

    Raises:
        ClientDisconnect: the client has left first.
    """
    leaving = asyncio.ensure_future(_leaving(request))
    work = asyncio.ensure_future(answer)
    try:
        await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return await work
        raise ClientDisconnect
    finally:
        for each in (leaving, work):
            each.cancel()


async def _leaving(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
