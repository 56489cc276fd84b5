"""The files of the writing page: headers, types, and nothing from outside."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import pytest

from ogpt.serving.writing_page import FOLDER, files
from tests.serving.calls import CLIENT
from tests.serving.running import Running, running

CODE = sorted(path for path in files() if path.endswith((".js", ".css", ".html")))
LONGEST_FILE = 400


def test_the_page_and_its_headers(server: Running) -> None:
    page = CLIENT.get(f"{server.url}/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(
        each.strip().split(" ", 1) for each in page.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert {policy[f"{kind}-src"] for kind in ("script", "style", "connect")} == {"'self'"}
    assert page.headers["x-content-type-options"] == "nosniff"
    assert CLIENT.head(f"{server.url}/").status_code == 200


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("page/main.js", "text/javascript"),
        ("style/base.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_a_file_is_sent_once(server: Running, name: str, kind: str) -> None:
    first = CLIENT.get(f"{server.url}/static/{name}")
    assert (first.status_code, first.headers["content-type"].partition(";")[0]) == (200, kind)
    assert first.content == (FOLDER / name).read_bytes()
    again = CLIENT.get(
        f"{server.url}/static/{name}", headers={"if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "index.html",
        "page",
        "page/none.js",
        "../writing_page.py",
        "%2e%2e/writing_page.py",
        "/etc/hosts",
    ],
)
def test_no_other_file_is_sent(server: Running, name: str) -> None:
    # the client would take .. out of a path itself
    assert CLIENT.get(f"{server.url}/static/{name.replace('..', '%2e.')}").status_code == 404


def test_the_page_needs_no_key(small_folder: Path) -> None:
    with running({"small": small_folder}, api_key="secret") as url:
        assert CLIENT.get(f"{url}/").status_code == 200
        assert CLIENT.get(f"{url}/static/page/main.js").status_code == 200
        assert CLIENT.get(f"{url}/v1/models").status_code == 401


@pytest.mark.parametrize("name", CODE)
def test_a_file_stands_alone(name: str) -> None:
    """It asks for nothing outside, makes no markup of text, and what it names exists."""
    text = (FOLDER / name).read_text("utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    outside = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", text))
    assert outside <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
    named = re.findall(r'from "(\./[^"]+)"', text) + re.findall(
        r'(?:src|href)="static/([^"]+)"', text
    )
    folder = "" if name.endswith(".html") else posixpath.dirname(name)
    assert {posixpath.normpath(posixpath.join(folder, each)) for each in named} <= files()
