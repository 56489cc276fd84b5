"""The command as the shell sees it: exit codes, streams, pipes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ogpt
from ogpt.cli.main import GROUPS, app

OGPT = str(Path(sys.executable).parent / "ogpt")


def shell(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def start(program: str) -> subprocess.Popen[bytes]:
    """Run a program with pipes; unbuffered Python would not notice a short write to one."""
    env = {**os.environ, "PYTHONUNBUFFERED": ""}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], stdout=pipe, stderr=pipe, env=env)


@pytest.mark.parametrize("command", [[OGPT], [sys.executable, "-m", "ogpt"]])
def test_version(command: list[str]) -> None:
    result = shell(*command, "--version")
    assert (result.returncode, result.stdout, result.stderr) == (
        0,
        f"ogpt {ogpt.__version__}\n",
        "",
    )


def test_error_goes_to_stderr(tmp_path: Path) -> None:
    result = shell(OGPT, "info", str(tmp_path))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert "\nhint: " in result.stderr


def test_reader_that_leaves() -> None:
    """`ogpt ... | head` ends without a word on stderr."""
    program = (
        "import ogpt\n"
        "from ogpt.cli.main import app\n"
        "from ogpt.workflows.doctor import Check\n"
        "ogpt.doctor = lambda: [Check(str(n), 'x' * 1000) for n in range(10_000)]\n"
        "app(['doctor'])"
    )
    with start(program) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_interrupt() -> None:
    program = (
        "import signal, sys, time, ogpt\n"
        "from ogpt.cli.main import app\n"
        # the shell of a background job has it ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def doctor():\n"
        "    sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(60)\n"
        "ogpt.doctor = doctor\n"
        "app(['doctor'])"
    )
    with start(program) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr.read().startswith(b"error: interrupted\n")
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", rb"\xe9\u6771 \udce9"),
        ("cp1252", b"\xe9" + rb"\u6771 \udce9"),
        ("utf-8", "é東 ".encode() + rb"\udce9"),
        ("ascii:strict", rb"\xe9\u6771 \udce9"),
        ("utf-8:surrogateescape", "é東 ".encode() + rb"\udce9"),  # as in the C locale
    ],
)
def test_any_encoding_of_the_streams(encoding: str, shown: bytes) -> None:
    program = (
        "import ogpt\n"
        "from ogpt.cli.main import app\n"
        "from ogpt.notices import tell\n"
        "from ogpt.workflows.doctor import Check\n"
        "def doctor():\n"
        "    tell('run-started', path='é東')\n"
        "    return [Check('a', 'é東 \\udce9')]\n"
        "ogpt.doctor = doctor\n"
        "app(['doctor'])"
    )
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, env=env
    )
    assert (done.returncode, done.stdout.strip()) == (0, b"a  " + shown)
    first, last = done.stderr.splitlines()
    assert first.startswith(b"notice: no run to resume in ")
    assert b"standard output is " + encoding.partition(":")[0].encode() in last


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is full")
def test_a_disk_that_is_full() -> None:
    with open("/dev/full", "w") as full:
        command = [OGPT, "doctor", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: could not write to standard output: No space left")
    assert len(done.stderr.splitlines()) == 2  # nor does Python try again at exit


def test_help_is_plain_ascii() -> None:
    """Any stdout can show it."""
    names = [command.__name__.replace("_", "-") for group in GROUPS.values() for command in group]
    for words in [[], *([name] for name in names)]:
        assert CliRunner().invoke(app, [*words, "--help"]).output.isascii()


LONG_WORK = (
    "import ogpt\n"
    "from ogpt.cli.main import app\n"
    "from ogpt.notices import tell\n"
    "def demo(out, reporter):\n"
    "    for step in range(1_000):\n"
    "        reporter('message', text='x' * 1_000)\n"
    "    tell('prompt-unknown', count=1, total=2)\n"
    "    open(out, 'w').write('whole')\n"
    "    if FAILS: raise ogpt.errors.ConfigError('wrong', hint='right')\n"
    "ogpt.demo = demo\n"
    "import ogpt.cli.demo\n"
    "ogpt.cli.demo.demo_story = lambda story: 'story'\n"
)


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
@pytest.mark.parametrize(("fails", "code"), [(False, 0), (True, 2)])
@pytest.mark.parametrize("stderr", ["reader-gone", "full", "closed"])
def test_progress_that_cannot_be_written(
    tmp_path: Path, stderr: str, fails: bool, code: int, quiet: list[str]
) -> None:
    if stderr == "full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    out = tmp_path / "out"
    words = [*quiet, "demo", "--out", str(out)]
    program = f"FAILS = {fails}\n{LONG_WORK}app({words})"
    if stderr == "closed":
        program = f"import os, sys; os.close(2); sys.stderr = None\n{program}"
    env = {**os.environ, "PYTHONUNBUFFERED": ""}
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full" if stderr == "full" else writer, "wb") as stream:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=-1, stderr=stream, env=env, check=False
        )
    assert (done.returncode, out.read_text()) == (code, "whole")
    assert done.stdout == (b"" if fails else b"story\n")
