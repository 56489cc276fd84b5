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
import subprocess
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ogpt.cli.main import app
from ogpt.serving.completion_request import CompletionRequest
from tests.contracts.sources import ROOT
from tests.serving.running import running
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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
@pytest.mark.parametrize("number", range(len(blocks("nginx"))))
def test_nginx_accepts_its_configuration(number: int, tmp_path: Path) -> None:
    block = re.sub(r"^ *ssl_certificate.*\n", "", blocks("nginx")[number], flags=re.MULTILINE)
    block = block.replace("listen 443 ssl", "listen 8443").replace("listen 80;", "listen 8080;")
    file = tmp_path / "nginx.conf"
    file.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{block}}}\n")
    command = ["nginx", "-t", "-e", str(tmp_path / "log"), "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


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
