"""The command as the shell sees it: exit codes, streams, pipes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ogpt

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
