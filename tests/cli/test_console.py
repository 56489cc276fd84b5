"""The views of long work: bars that fit the terminal, plain lines elsewhere, silence on request."""

import io
import re
import sys

import pytest
from rich.console import Console

from ogpt.cli.console import (
    LINE_EVERY_S,
    Bars,
    Lines,
    OnlyNotices,
    TaskTimes,
    open_view,
    plain_console,
)
from ogpt.notices import Notice

NOTICE = Notice("prompt-unknown", {"count": 1, "total": 2})
NOTICE_LINE = "notice: 1 of 2 prompt tokens are unknown to this vocabulary\n"
TRAIN = {"task": "training", "loss": 4.1, "tokens_per_s": 112_345.0, "mfu": 0.41, "eta_s": 45_296.0}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def plain() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return plain_console(file=stream, width=80), stream


def text_of(stream: io.StringIO) -> str:
    """What was written to a terminal, each redrawn line on a line of its own."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "\n")


def terminal() -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return plain_console(file=stream, width=80, force_terminal=True, no_color=True), stream


class TestTaskTimes:
    def test_own_pace(self) -> None:
        clock = Clock()
        pace = TaskTimes(clock)
        assert pace.remaining_s("a", 100, 1_000) is None  # resumed work: 100 were done before
        clock.now = 10.0
        assert pace.remaining_s("a", 200, 1_000) == pytest.approx(80.0)
        assert pace.remaining_s("b", 0, 10) is None
        clock.now = 20.0
        assert pace.end("a") == 20.0
        assert pace.end("never begun") == 0.0
        assert pace.remaining_s("a", 200, 1_000) is None  # it starts again

    def test_unknown_total(self) -> None:
        clock = Clock()
        pace = TaskTimes(clock)
        pace.remaining_s("a", 0, 0)
        clock.now = 1.0
        assert pace.remaining_s("a", 5, 0) is None


class TestLines:
    def test_first_then_every_few_seconds_then_last(self) -> None:
        (out, stream), clock = plain(), Clock()
        view = Lines(out, clock)
        for second in [*range(12), 11]:
            clock.now = float(second)
            view("progress", task="reading", done=second, total=11, unit="files")
        assert LINE_EVERY_S == 5.0
        assert stream.getvalue().splitlines() == [
            "reading: 0 of 11 files",
            "reading: 5 of 11 files  0:06 left",
            "reading: 10 of 11 files  0:01 left",
            "reading: 11 files in 0:11",
        ]

    def test_a_task_can_begin_anew(self) -> None:
        (out, stream), clock = plain(), Clock()
        view = Lines(out, clock)
        for now, done in ((0, 1), (2, 2), (10, 1), (13, 2)):
            clock.now = float(now)
            view("progress", task="reading", done=done, total=2, unit="files")
        assert stream.getvalue().splitlines() == [
            "reading: 1 of 2 files",
            "reading: 2 files in 0:02",
            "reading: 1 of 2 files",
            "reading: 2 files in 0:03",
        ]

    def test_tasks_do_not_hide_each_other(self) -> None:
        (out, stream), clock = plain(), Clock()
        view = Lines(out, clock)
        view("progress", task="a", done=0, total=0, unit="words")
        view("train", step=1, total_steps=9, **TRAIN)
        view("train", step=2, total_steps=9, **TRAIN)
        view("train", step=9, total_steps=9, **TRAIN)
        facts = "loss 4.100  112,345 tok/s  MFU 41%"
        assert stream.getvalue().splitlines() == [
            "a: 0 words",
            f"training: 1/9  {facts}  12:34:56 left",
            f"training: 9/9  {facts}",
        ]

    def test_other_events_and_notices(self) -> None:
        out, stream = plain()
        view = Lines(out)
        view("message", text="a [bold]line[/bold] as it is")
        view("unheard-of")
        view.notice(NOTICE)
        view.close()
        assert stream.getvalue() == "a [bold]line[/bold] as it is\n" + NOTICE_LINE


class TestBars:
    def test_everything_fits_in_eighty_columns(self) -> None:
        out, stream = terminal()
        view = Bars(out)
        view("train", step=12_345, total_steps=123_456, **TRAIN)
        view("progress", task="counting words", done=5, total=10, unit="files")
        view("message", text="a line that stays")
        view.close()
        lines = text_of(stream).splitlines()
        assert max(map(len, lines)) <= 80
        rows = [line for line in lines if line.startswith("training")]
        assert rows
        assert "12,345/123,456  loss 4.100  112,345 tok/s" in rows[-1]
        assert any(line.startswith("counting words") and "5 of 10 files" in line for line in lines)
        assert "a line that stays" in lines

    def test_ended_task_stays_as_a_line(self) -> None:
        out, stream = terminal()
        view = Bars(out)
        view("progress", task="reading", done=0, total=2, unit="files")
        view("progress", task="reading", done=1, total=2, unit="files")
        view("progress", task="reading", done=2, total=2, unit="files")
        for _ in range(2):
            view("progress", task="at once", done=3, total=3, unit="files")
        view.close()
        view.close()
        before, _, after = text_of(stream).partition("reading: 2 files in 0:00")
        assert "of 2 files" in before
        assert "of 2 files" not in after
        assert after.count("at once: 3 files in 0:00") == 1

    def test_unknown_total_pulses_without_eta(self) -> None:
        out, stream = terminal()
        view = Bars(out)
        view("progress", task="reading", done=7, total=0, unit="lines")
        view("unheard-of")
        view.close()
        assert "7 lines" in stream.getvalue()
        assert "left" not in stream.getvalue()

    def test_stdout_is_left_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        out, stream = terminal()
        view = Bars(out)
        view("progress", task="reading", done=7, total=9, unit="lines")
        sys.stdout.write("data\n")
        view.close()
        assert capsys.readouterr().out == "data\n"
        assert "data" not in stream.getvalue()


class TestOpenView:
    def test_quiet(self, capsys: pytest.CaptureFixture[str]) -> None:
        with open_view(quiet=True) as view:
            assert type(view) is OnlyNotices
            view("message", text="not shown")
            view("train", task="training", step=1, total_steps=2)
            view.notice(NOTICE)
        assert capsys.readouterr() == ("", NOTICE_LINE)

    def test_no_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        with open_view(quiet=False) as view:
            assert type(view) is Lines
            view("message", text="shown")
        assert capsys.readouterr() == ("", "shown\n")

    @pytest.mark.parametrize(("term", "kind"), [("xterm", Bars), ("dumb", Lines)])
    def test_terminal(
        self, monkeypatch: pytest.MonkeyPatch, term: str, kind: type[OnlyNotices]
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
        monkeypatch.setenv("TERM", term)
        with open_view(quiet=False) as view:
            assert type(view) is kind

    def test_closed_after_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        with pytest.raises(RuntimeError, match="stop"), open_view(quiet=False) as view:
            view("progress", task="reading", done=7, total=9, unit="lines")
            assert isinstance(view, Bars)
            raise RuntimeError("stop")
        assert view._progress is None

    def test_no_colour_when_asked(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("NO_COLOR", "1")
        with open_view(quiet=False) as view:
            view("progress", task="reading", done=7, total=9, unit="lines")
        colours = re.findall(r"\x1b\[[0-9;]*m", capsys.readouterr().err)
        assert all(not re.search(r"[34]\d", colour) for colour in colours), colours
