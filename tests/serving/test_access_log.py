"""The access log: a line for each request, without what is private."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace

import pytest
from starlette.types import Receive, Scope, Send

from ogpt.serving.access_log import AccessLog, logging_to_stderr
from ogpt.serving.metrics import ServerMetrics
from tests.serving.asgi import LEAVES, ask, echo, parts
from tests.serving.exposition import exposed


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == "ogpt.serving.access_log"]


@pytest.fixture
def metrics(caplog: pytest.LogCaptureFixture) -> ServerMetrics:
    caplog.set_level(logging.DEBUG)
    return ServerMetrics(dict)


def test_a_line_says_who_what_and_how(
    metrics: ServerMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ask(
        AccessLog(echo, metrics),
        "/v1/completions",
        [("Authorization", "Bearer secret")],
        parts(b"secret"),
        method="POST",
        query_string=b"secret",
        route=SimpleNamespace(path="/v1/completions"),
    )
    number = answer.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", number)
    (line,) = logged(caplog)
    pattern = rf'192\.0\.2\.1 "POST /v1/completions" 200 0\.\d{{3}} s 6 bytes {number}'
    assert re.fullmatch(pattern, line)
    assert exposed(metrics)["http_requests_total"]["/v1/completions", "POST", "200"] == 1
    assert exposed(metrics)["http_request_duration_seconds_count"]["/v1/completions", "POST"] == 1


def test_a_path_cannot_write_a_line(
    metrics: ServerMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    ask(AccessLog(echo, metrics), '/a\n192.0.2.9 "GET /b" \x1b[31m', client=None)
    (line,) = logged(caplog)
    assert line.startswith('- "GET /a%0A192.0.2.9%20%22GET%20/b%22%20%1B%5B31m" 200 ')


def test_paths_and_methods_of_clients_make_no_series(metrics: ServerMetrics) -> None:
    log = AccessLog(echo, metrics)
    for number in range(20):
        ask(log, f"/{number}", method=f"M{number}")
    assert exposed(metrics)["http_requests_total"]["none", "other", "200"] == 20


def test_clients_that_leave_are_logged(
    metrics: ServerMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})

    for app, what in ((silent, "499 0.000 s 0 bytes"), (cut, "200 0.000 s 1 bytes")):
        ask(AccessLog(app, metrics), messages=[LEAVES])
        line = re.sub(r"\d\.\d{3} s", "0.000 s", logged(caplog)[-1])
        assert what in line
        assert line.endswith(" incomplete")


def test_errors_are_logged_and_passed_on(
    metrics: ServerMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(AccessLog(broken, metrics))
    assert '"GET /v1/models" 500 ' in logged(caplog)[0]
    assert exposed(metrics)["http_requests_total"]["none", "GET", "500"] == 1


def test_what_is_no_request_is_not_logged(
    metrics: ServerMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    ask(AccessLog(echo, metrics), type="lifespan")
    assert logged(caplog) == []


def test_lines_go_to_stderr_with_their_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("ogpt.serving.access_log")
    with logging_to_stderr():  # the tests have set up logging
        log.info("a line")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for _ in range(2):
        with logging_to_stderr():
            log.info("a line")
            log.debug("none")
            logging.getLogger("uvicorn.error").info("none")
        log.info("none")
        shown = capsys.readouterr()
        assert shown.out == ""
        time = r"\d{4}(-\d\d){2}T(\d\d:){2}\d\d[+-]\d{4}"
        assert re.fullmatch(rf"{time} INFO ogpt\.serving\.access_log a line\n", shown.err)
