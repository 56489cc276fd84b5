"""Errors as answers: the status of each, and a body in OpenAI's shape.

5xx is for what is not the client's fault. The hint of an error of ours is part of the message.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Scope

from ogpt.errors import (
    BodyRefused,
    BodyTimeout,
    ContextTooLong,
    DeadlineExceeded,
    DocumentsUnavailable,
    EngineError,
    EngineUnavailable,
    HeadRefused,
    HostInvalid,
    HostRefused,
    KeyRefused,
    OgptError,
    OriginRefused,
    QueueFull,
    RateExceeded,
    RequestError,
    RevisionConflict,
    SamplingError,
    StorageError,
    StrictNotice,
    TokenOutOfRange,
    UnknownDocument,
    UnknownModel,
)
from ogpt.serving.schemas import ErrorBody, ErrorDetail

LOGGER = logging.getLogger(__name__)

_OURS = (500, "server_error", None)

_OF_DOCUMENTS: dict[type[OgptError], tuple[int, str, str | None]] = {
    UnknownDocument: (404, "invalid_request_error", "document_not_found"),
    RevisionConflict: (409, "invalid_request_error", "revision_conflict"),
    DocumentsUnavailable: (503, "server_error", "unavailable"),
    StorageError: (507, "server_error", "storage_failed"),
}
STATUSES: dict[type[OgptError], tuple[int, str, str | None]] = {
    **_OF_DOCUMENTS,
    RequestError: (400, "invalid_request_error", "invalid_value"),
    ContextTooLong: (400, "invalid_request_error", "context_length_exceeded"),
    SamplingError: (400, "invalid_request_error", "invalid_value"),
    TokenOutOfRange: (400, "invalid_request_error", "invalid_value"),
    StrictNotice: (400, "invalid_request_error", "strict"),
    UnknownModel: (404, "invalid_request_error", "model_not_found"),
    DeadlineExceeded: (408, "server_error", "deadline_exceeded"),
    HeadRefused: (431, "invalid_request_error", "head_too_large"),
    HostInvalid: (400, "invalid_request_error", "host_invalid"),
    HostRefused: (421, "invalid_request_error", "host_not_allowed"),
    OriginRefused: (403, "invalid_request_error", "origin_not_allowed"),
    KeyRefused: (401, "invalid_request_error", "invalid_api_key"),
    RateExceeded: (429, "rate_limit_error", "rate_limit_exceeded"),
    BodyRefused: (413, "invalid_request_error", "body_too_large"),
    BodyTimeout: (408, "invalid_request_error", "receive_timeout"),
    QueueFull: (429, "rate_limit_error", "rate_limit_exceeded"),
    EngineUnavailable: (503, "server_error", "unavailable"),
    EngineError: _OURS,
}
"""Status, type and code of each class of errors; those of a base count for classes without.

Others of ours, such as of a folder, are faults of the server.
"""

LONGEST = 2000
"""Characters of a message: it may show a value that the client sent."""

_CODES = {
    400: "invalid_value",
    404: "not_found",
    405: "method_not_allowed",
    415: "unsupported_media_type",
}


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    """The body of an answer that is not 2xx, as JSON.

    Args:
        message: What was wrong, and what to do.
        kind: `type` in OpenAI's shape.
        param: The field that was wrong.
        code: A short name of the error for programs.
    """
    shown = message if len(message) <= LONGEST else f"{message[:LONGEST]}..."
    # a client can send half a surrogate pair, which UTF-8 does not have
    plain = shown.encode(errors="backslashreplace").decode()
    named = param and param.encode(errors="backslashreplace").decode()
    detail = ErrorDetail(message=plain, type=kind, param=named, code=code)
    return ErrorBody(error=detail).model_dump_json().encode()


def error_response(error: Exception) -> Response:
    """The answer to a request that ended with an error.

    Args:
        error: One of STATUSES; any other is answered with 500, and its text is not shown. One of
            ours is logged here, and others are where they are caught.
    """
    headers = {}
    known = [STATUSES[each] for each in type(error).__mro__ if each in STATUSES]
    if isinstance(error, OgptError) and known:
        status, kind, code = known[0]
        param = "model" if isinstance(error, UnknownModel) else getattr(error, "param", None)
        body = error_body(f"{error} ({error.hint})", kind, param, code)
        if isinstance(error, EngineUnavailable | QueueFull | RateExceeded):
            headers["retry-after"] = str(error.retry_after)
    else:
        if isinstance(error, OgptError):
            LOGGER.error("a request has failed", exc_info=error)
        status, kind, code = _OURS
        body = error_body("the request failed in the server (its log says why)", kind, None, code)
    return Response(body, status, headers, "application/json")


def route_path(scope: Scope) -> str:
    """The path of a request without the root path, which is before every path."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def add_handlers(app: FastAPI) -> None:
    """Make every error of an app an answer in OpenAI's shape."""
    app.add_exception_handler(OgptError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _ours)


async def _ours(request: Request, error: Exception) -> Response:
    return error_response(error)


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody reads this; nginx logs such requests as 499."""
    return Response(status_code=499)


async def _of_http(request: Request, error: Exception) -> Response:
    """An error of the framework: no such path, another method, a body that is no text."""
    assert isinstance(error, HTTPException)
    status = error.status_code
    root: str = request.scope.get("root_path", "")
    path = route_path(request.scope)
    message = {
        404: f"there is no {path!r} ({root}/docs lists what there is)",
        405: f"{path!r} is not for {request.method} ({root}/docs lists what there is)",
    }.get(status, str(error.detail))
    if status == 400 and error.__cause__ is not None:
        status, message = _unreadable(request, error.__cause__)
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = error_body(message, kind, None, _CODES.get(status))
    return Response(body, status, error.headers, "application/json")


def _unreadable(request: Request, cause: BaseException) -> tuple[int, str]:
    """Status and message for a body that the framework could not read as JSON."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        return 415, f"the content encoding is {encoding!r}; allowed: none (send it uncompressed)"
    if isinstance(cause, UnicodeDecodeError):
        return 400, f"the body is not UTF-8: byte {cause.start} (send JSON in UTF-8)"
    if isinstance(cause, RecursionError):
        return 400, "the body is nested too deeply (send lists of texts or ids)"
    return 400, f"the body cannot be read: {cause} (send JSON)"


async def _invalid(request: Request, error: Exception) -> Response:
    """A body that is not JSON, or that lacks the shape of its route."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "")
        body = error_body(f"the body is not JSON: {reason}", "invalid_request_error", None, "json")
        return Response(body, 400, media_type="application/json")
    content_type = request.headers.get("content-type", "")
    if isinstance(error.body, bytes) and error.body:
        message = f"the content type is {content_type!r}; allowed: application/json"
        body = error_body(message, "invalid_request_error", None, _CODES[415])
        return Response(body, 415, media_type="application/json")
    param, message = _described(found)
    body = error_body(message, "invalid_request_error", param, "invalid_value")
    return Response(body, 400, media_type="application/json")


def _described(found: Sequence[Mapping[str, Any]]) -> tuple[str | None, str]:
    """The first field that is wrong, and what was seen and is allowed there."""
    place = [str(each) for each in found[0]["loc"] if each != "body"]
    if not place and found[0]["type"] == "missing":
        return None, "the body is empty; allowed: a JSON object"
    if not place:
        return None, f"the body is wrong: {found[0]['msg']}"
    param = place[0]
    of_field = [each for each in found if param in map(str, each["loc"][:2])]
    if of_field[0]["type"] == "missing":
        return param, f"{param} is missing (add it to the request)"
    seen = repr(of_field[0]["input"])
    seen = seen if len(seen) < 200 else f"{seen[:200]}..."
    allowed = dict.fromkeys(each["msg"][:1].lower() + each["msg"][1:] for each in of_field)
    return param, f"{param}: {' or '.join(allowed)}; seen: {seen}"
