"""The lines of docs/guides/serve.md work: curl and the openai client, nginx, and the systemd unit.

Its other Python runs in tests/contracts/test_guides.py.
"""

from __future__ import annotations

import configparser
import io
import json
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer.main

from ogpt.cli.main import app
from ogpt.serving.completion_request import CompletionRequest
from tests.contracts.sources import ROOT
from tests.serving.calls import answer
from tests.serving.running import PATIENCE, running, started, until
from tests.tasks.task_folders import CLASSES, make
from tests.workflows.finetuning import base_model

PAGE = (ROOT / "docs" / "guides" / "serve.md").read_text("utf-8")
ADDRESS = "http://localhost:8000"


def blocks(language: str) -> list[str]:
    """The blocks of the page in a language; "" for commands."""
    every = re.findall(r"^```([^\n]*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [code for found, code in every if found == language]


def commands(program: str) -> list[str]:
    """The commands of the page that start with the name of a program."""
    joined = "".join(blocks("")).replace("\\\n", "")
    return [line for line in joined.splitlines() if line.startswith(f"{program} ")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    new = tmp_path_factory.mktemp
    folders = {
        "mine": base_model(new("mine"), n_positions=64),
        "sentiment": make(new("sentiment"), "bert", CLASSES),
    }
    with running(folders, models_in_memory=2) as url:
        yield url


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("line", commands("curl"), ids=lambda line: line.split()[2])
def test_a_curl_line_is_answered(url: str, line: str) -> None:
    assert ADDRESS in line
    words = shlex.split(line.replace(ADDRESS, url))
    done = subprocess.run(
        [*words, "--fail-with-body"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    if '"stream": true' in line:
        *events, end = [each for each in done.stdout.splitlines() if each]
        assert end == "data: [DONE]"
        whole = [json.loads(event.removeprefix("data: ")) for event in events]
        assert whole[-1]["usage"]["completion_tokens"] == 20
    else:
        assert "warnings" in json.loads(done.stdout)


@pytest.mark.slow
def test_the_openai_client_prints_text_and_sizes(url: str) -> None:
    pytest.importorskip("openai")
    [code] = [code for code in blocks("python no-run") if "OpenAI" in code]
    assert ADDRESS in code
    with redirect_stdout(io.StringIO()) as printed:
        exec(code.replace(ADDRESS, url), {})  # noqa: S102 - it is our own page
    assert printed.getvalue().endswith("2 32\n")


@contextmanager
def nginx(block: str, folder: Path, **replaced: str) -> Iterator[str]:
    """nginx with a block of the page, in which some texts are replaced; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    block = re.sub(r"^ *ssl_certificate.*\n", "", block, flags=re.MULTILINE)
    block, count = re.subn(r"listen (443 ssl|80);", f"listen 127.0.0.1:{port};", block)
    assert count == 1
    for before, after in replaced.items():
        assert before in block
        block = block.replace(before, after)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"pid {folder}/pid; daemon off; master_process off; error_log {folder}/log; events {{}}"
    file = folder / "nginx.conf"
    file.write_text(f"{main}\nhttp {{\naccess_log off;\n{paths}{block}}}\n")
    with subprocess.Popen(["nginx", "-e", str(folder / "log"), "-c", str(file)]) as process:
        try:
            until(lambda: process.poll() is not None or answers(port))
            assert process.poll() is None, (folder / "log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def endless(url: str) -> AbstractContextManager[httpx2.Response]:
    body = {"prompt": "a bad", "max_tokens": 4096, "stream": True}
    return httpx2.stream("POST", f"{url}/v1/completions", json=body, timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_streams_pass_nginx_as_they_come_and_clients_keep_their_rate(
    small_folder: Path, tmp_path: Path
) -> None:
    """What a client says of its address does not count."""
    settings = {"root_path": "/gpt", "trusted_proxies": ["127.0.0.2"], "requests_per_minute": 2}
    with started({"small": small_folder}, **settings) as found:
        backend = found.url.removeprefix("http://")
        with nginx(blocks("nginx")[0], tmp_path, **{"127.0.0.1:8000": backend}) as url:
            with endless(f"{url}/gpt") as response:
                assert "choices" in json.loads(next(response.iter_lines())[len("data: ") :])
                assert found.models.counters()["small"].running == 1  # there is more to come
            until(lambda: found.models.counters()["small"].running == 0)  # the client has left
            statuses = [
                httpx2.get(f"{url}/gpt/v1/models", headers={"X-Forwarded-For": spoofed}).status_code
                for spoofed in ("192.0.2.1", "192.0.2.2")
            ]
            assert statuses == [200, 429]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_nginx_asks_another_replica_than_the_one_that_is_full(
    small_folder: Path, tmp_path: Path
) -> None:
    with (
        started({"small": small_folder}, slots=1, max_queued=0) as full,
        started({"small": small_folder}) as other,
        endless(full.url) as response,
    ):
        lines = response.iter_lines()  # held: it would close the response
        next(lines)
        places = {
            f"10.0.0.{number}:8000": each.url.removeprefix("http://")
            for number, each in ((1, full), (2, other))
        }
        with nginx(blocks("nginx")[1], tmp_path, **places) as url:
            for _ in range(4):
                assert answer(url, prompt="a", max_tokens=1)["choices"]
        assert full.models.counters()["small"].refused > 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    [block] = blocks("ini")
    file = tmp_path / "ogpt.service"
    file.write_text(block.replace("/opt/ogpt/bin/ogpt", "/bin/true"))
    command = ["systemd-analyze", "verify", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def options_of_serve() -> dict[str, Any]:
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]  # a group
    return {name: parameter for parameter in command.params for name in parameter.opts}


def test_the_unit_starts_a_command_that_exists() -> None:
    [block] = blocks("ini")
    unit = configparser.ConfigParser()
    unit.read_string(block)
    program, command, model, *rest = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(program).name, command) == ("ogpt", "serve")
    assert Path(model).is_absolute()
    options = options_of_serve()
    assert {word for word in rest if word.startswith("--")} <= set(options)
    drain = options["--drain-timeout"].default
    assert float(unit["Service"]["TimeoutStopSec"]) > drain


def test_nginx_waits_longer_than_a_request_may_take() -> None:
    options = options_of_serve()
    found = [float(each) for each in re.findall(r"proxy_read_timeout (\d+)s;", PAGE)]
    assert found
    assert min(found) > options["--max-time"].default
    [size] = re.findall(r"client_max_body_size (\d+)m;", PAGE)
    for limit in ("--max-body-bytes", "--max-document-bytes"):
        assert int(size) * 2**20 >= options[limit].default


def test_every_option_in_the_text_exists() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--choices"}  # of ogpt score
    assert len(named) > 10
    assert named <= set(options_of_serve()) | {"--strict"}


def test_every_field_of_a_completion_is_explained() -> None:
    section = PAGE.partition("### Completions")[2].partition("\n### ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    assert CompletionRequest.model_fields.keys() <= named
