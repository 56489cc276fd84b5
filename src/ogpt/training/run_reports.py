"""Where the events of a training go: to the caller, metrics.jsonl, and TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ogpt.folders.run_folder import METRICS_FILE
from ogpt.reporting import JsonLines, Reporter, Several
from ogpt.storage import storage_error
from ogpt.training import tensorboard


def _is_utf8(path: Path) -> bool:
    try:
        return bool(str(path.absolute()).encode())
    except UnicodeEncodeError:
        return False


@contextmanager
def reports(out: Path, step: int, reporter: Reporter) -> Iterator[Reporter]:
    """Yield a Reporter to the caller, to metrics.jsonl and, if it is installed, to TensorBoard."""
    try:
        metrics = open(out / METRICS_FILE, "a", encoding="utf-8")  # noqa: SIM115  # closed below
    except OSError as error:
        raise storage_error(out / METRICS_FILE, error) from error
    report = Several(progress=reporter, **{METRICS_FILE: JsonLines(metrics)})
    closing = {METRICS_FILE: metrics.close}
    try:
        if not _is_utf8(out):
            text = f"no curves for TensorBoard, which needs a path in UTF-8; {str(out)!r} is not"
            report("message", text=text)
        elif tensorboard.available():
            try:
                board = tensorboard.TensorBoard(out / "tensorboard", step)
                report.reporters["TensorBoard"] = board
                closing["TensorBoard"] = board.close
            except OSError as error:
                report.failed("TensorBoard", error)
        else:
            text = "no curves for TensorBoard, which is not installed: pip install tensorboard"
            report("message", text=text)
        yield report
    finally:
        for name, close in closing.items():
            try:
                close()
            except OSError as error:  # closing writes what a full disk refused before
                report.failed(name, error)
