"""GET /: the page that people write on, and its files below /static.

The page runs only scripts of its own, talks only to this server, and cannot be framed.
"""

from __future__ import annotations

import mimetypes
from functools import cache
from pathlib import Path, PurePosixPath

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent / "web"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # a file is asked for each time, and sent only if it has changed: no page mixes two versions
    "Cache-Control": "no-cache",
}
"""Headers of the page and of each of its files."""

TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
"""By the name of a file; the tables of some machines have others."""


@router.get("/")
@router.head("/")
async def writing_page(request: Request) -> Response:
    """The page."""
    return _answer(request, "index.html")


@router.get("/static/{path:path}")
@router.head("/static/{path:path}")
async def static_file(request: Request, path: str) -> Response:
    """A file of the page."""
    if path == "index.html" or path not in files():
        raise HTTPException(404)
    return _answer(request, path)


@cache
def files() -> frozenset[str]:
    """Paths of all files: nothing else is ever opened."""
    found = (path for path in FOLDER.rglob("*") if path.is_file())
    return frozenset(path.relative_to(FOLDER).as_posix() for path in found)


def _answer(request: Request, path: str) -> Response:
    media_type = TYPES.get(PurePosixPath(path).suffix) or mimetypes.guess_type(path)[0]
    response = FileResponse(FOLDER / path, headers=HEADERS, media_type=media_type)
    response.set_stat_headers((FOLDER / path).stat())
    if request.headers.get("if-none-match") == response.headers["etag"]:
        return Response(status_code=304, headers={**HEADERS, "etag": response.headers["etag"]})
    return response
