"""`ogpt.serve` and its command: settings, notices, and the process from start to SIGTERM."""

import gc
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

import ogpt
from ogpt.errors import ConfigError, DecoderError, UnknownArgument, WeightsError
from ogpt.notices import collecting
from ogpt.serving import serve as of_serve
from ogpt.serving import served_models
from ogpt.serving.http_server import HttpServer, listen_on
from ogpt.serving.server_settings import ServerSettings
from tests.cli.stand_ins import ok, record
from tests.serving.calls import PATH, joined
from tests.serving.running import PATIENCE, started


def test_settings_out_of_range() -> None:
    for name, value, allowed in (
        ("host", "", "a text of one character or more"),
        ("trusted_proxies", ("localhost",), "IP addresses and networks"),
        ("root_path", None, "a text"),
        ("api_key", "", "a text of one character or more, or None"),
        ("port", 70_000, "0 to 65535"),
        ("slots", 0, "1 to 4096"),
        ("max_time", 0, "a finite number above 0"),
    ):
        with pytest.raises(
            ConfigError, match=f"^{name} is {re.escape(repr(value))}; allowed: {allowed}$"
        ) as caught:
            ServerSettings(**{name: value})
        assert caught.value.hint


def test_an_address_in_use(small_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1, port {port}") as caught:
            ogpt.serve(small_folder, port=port)
    assert "another host or port" in caught.value.hint


def test_faults_of_the_default_model_are_found_before_the_server_starts(
    small_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(small_folder, tmp_path / "d"))
    for file in folder.glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:200])
    documents = tmp_path / "documents.sqlite3"
    with pytest.raises(WeightsError, match="damaged"):
        ogpt.serve(folder, port=0, documents=str(documents))
    assert not documents.exists()


def test_a_decoder_that_cannot_be_opened_ends_the_start(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its own error: who starts the server may know where models lie."""

    def fail(*given: Any, **named: Any) -> None:
        raise DecoderError("no memory", hint="free some")

    monkeypatch.setattr(served_models, "open_decoder", fail)
    with pytest.raises(DecoderError, match="no memory"):
        ogpt.serve(small_folder, port=0)


def test_names_of_models(small_folder: Path) -> None:
    assert of_serve.name_of(small_folder / ".." / small_folder.name) == small_folder.name
    assert of_serve.name_of("org/model") == "org/model"
    with pytest.raises(ConfigError, match=f"two models are named {small_folder.name!r}") as again:
        ogpt.serve(small_folder, models={small_folder.name: "other"})
    assert "another name" in again.value.hint
    with pytest.raises(UnknownArgument, match="serve has no argument prot") as caught:
        ogpt.serve(small_folder, prot=5)
    assert caught.value.hint == "did you mean port?"


def test_a_server_starts_and_stops(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an address that others reach and no key, it warns."""
    found: dict[str, Any] = {}

    def run(self: HttpServer, sockets: list[socket.socket]) -> None:
        found["models"] = self.config.app.state.models
        found["states"] = found["models"].states()
        found["garbage"] = (gc.get_freeze_count(), gc.get_threshold()[0])
        self._on_start()

    monkeypatch.setattr(HttpServer, "run", run)
    urls: list[str] = []
    before = (gc.get_freeze_count(), gc.get_threshold()[0])
    with collecting() as notices:
        ogpt.serve(small_folder, host="0.0.0.0", port=0, slots=2, threads=1, on_start=urls.append)
    assert [notice.kind for notice in notices] == ["open-without-key"]
    assert found["states"] == {small_folder.name: "ready"}
    assert found["models"].states() == {small_folder.name: "closed"}
    assert found["garbage"][0] > before[0]  # what was loaded is not looked at again
    assert found["garbage"][1] > before[1]
    assert (gc.get_freeze_count(), gc.get_threshold()[0]) == before
    assert urls[0].startswith("http://0.0.0.0:")
    with collecting() as notices:
        ogpt.serve(small_folder, host="0.0.0.0", port=0, api_key="secret", threads=1)
    assert notices == []


def test_where_documents_are_kept_is_said(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    monkeypatch.setattr(
        HttpServer, "run", lambda self, sockets: found.append(self.config.app.state.documents)
    )
    said: list[str] = []
    common: dict[str, Any] = {
        "port": 0,
        "threads": 1,
        "reporter": lambda kind, text: said.append(text),
    }
    file = str(tmp_path / "documents.sqlite3")
    ogpt.serve(small_folder, documents=file, **common)
    ogpt.serve(small_folder, **common)
    ogpt.serve(small_folder, keep_documents=False, **common)
    assert [store and store.place for store in found] == [
        file,
        str(tmp_path / "data" / "ogpt" / "documents.sqlite3"),
        None,
    ]
    assert said == [
        f"documents are kept in {file}",
        f"documents are kept in {found[1].place}",
        "documents are not kept (--no-documents)",
    ]
    with pytest.raises(ConfigError, match="a URL of 'mysql'"):
        ogpt.serve(small_folder, documents="mysql://host/name", **common)


def test_an_address_of_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with listen_on(ServerSettings(host="::1", port=0)) as listening:
        assert listening.family == socket.AF_INET6


def test_the_command(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = record(monkeypatch, "serve")
    monkeypatch.setenv("OGPT_API_KEY", "secret")
    ok("serve", str(small_folder), "--model", "b=runs/b", "--port", "0", "--allow-host", "a.org")
    assert recorder.arguments == (small_folder,)
    options = recorder.options
    assert (options["models"], options["api_key"], options["port"]) == (
        {"b": "runs/b"},
        "secret",
        0,
    )
    assert (list(options["allowed_hosts"]), options["strict"]) == (["a.org"], False)
    recorder.options["on_start"]("http://127.0.0.1:1")
    for wrong in ("b", "=b", "b=", "a=c"):
        with pytest.raises(AssertionError, match="allowed: a new name, = and a model"):
            ok("serve", str(small_folder), "--model", "a=b", "--model", wrong)


def test_an_empty_key_is_no_open_server(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record(monkeypatch, "serve")
    monkeypatch.setenv("OGPT_API_KEY", "")
    with pytest.raises(AssertionError, match="OGPT_API_KEY is empty; allowed: a key"):
        ok("serve", str(small_folder))
    monkeypatch.delenv("OGPT_API_KEY")
    ok("serve", str(small_folder))
    assert recorder.options["api_key"] is None


SERVE = """
import sys
from ogpt.cli.main import app
try: app(["serve", sys.argv[1], "--port", "0", "--threads", "1"])
finally: print(sorted({"torch", "tensorflow", "transformers"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_a_process_drains_at_sigterm_and_loads_no_framework(small_folder: Path) -> None:
    command = [sys.executable, "-c", SERVE, str(small_folder)]
    quiet = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet
    ) as process:
        try:
            assert process.stderr is not None
            kept, line = process.stderr.readline(), process.stderr.readline()
            assert "documents are kept in " in kept
            url = next(word for word in line.split() if word.startswith("http://"))
            body = {"prompt": "a bad", "max_tokens": 3000, "seed": 1, "stream": True}
            with httpx2.stream("POST", f"{url}{PATH}", json=body, timeout=30) as response:
                lines = response.iter_lines()
                first = next(lines)
                process.send_signal(signal.SIGTERM)
                *events, done, _ = [first, *lines]
            out, error = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "[]\n")
    [logged] = error.splitlines()
    assert '"POST /v1/completions" 200 ' in logged
    assert done == "data: [DONE]"
    [choice] = joined([json.loads(line.removeprefix("data: ")) for line in events if line])
    assert choice["finish_reason"] == "length"


def test_a_second_signal_does_not_wait(small_folder: Path) -> None:
    with started({"small": small_folder}) as found:
        found.server.handle_exit(signal.SIGINT, None)
        assert (found.server.should_exit, found.server.force_exit) == (True, False)
        found.server.handle_exit(signal.SIGINT, None)
        assert found.server.force_exit
        found.thread.join(PATIENCE)
        assert not found.thread.is_alive()
