"""What the README promises of `ogpt demo`, at its real size: killed once, it beats all n-grams."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

OGPT = str(Path(sys.executable).parent / "ogpt")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_once_it_beats_the_ngram_models(tmp_path: Path) -> None:
    run = tmp_path / "demo"
    command = [OGPT, "demo", "--out", str(run)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as child:
        while not list((run / "checkpoints").glob("step-*")):
            assert child.poll() is None
            time.sleep(0.2)
        os.kill(child.pid, signal.SIGKILL)
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\nIt beats all 3 n-gram models: " in told.stdout
    assert "\nPre-training helps: " in told.stdout
    assert (run / "report.html").stat().st_size > 10_000

    [line] = [line for line in told.stdout.splitlines() if line.startswith("generate with it: ")]
    program, *arguments = shlex.split(line.removeprefix("generate with it: "))
    assert program == "ogpt"
    written = subprocess.run([OGPT, *arguments], capture_output=True, text=True, check=True)
    assert len(written.stdout.split()) > 5
