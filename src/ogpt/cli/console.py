"""Progress of long work on stderr: bars on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ogpt.cli.figures import end_facts, event_line, progress_facts, train_facts
from ogpt.cli.stderr import Stderr
from ogpt.notices import Notice

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LINE_EVERY_S = 5.0
"""Seconds between two lines of the same task, where lines cannot be redrawn."""

REDRAWS_PER_S = 4.0


class View(Protocol):
    """A Reporter that also shows notices; it is closed when the command ends."""

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Show one event."""
        ...

    def notice(self, notice: Notice) -> None:
        """Show a notice."""
        ...

    def close(self) -> None:
        """Restore the terminal."""
        ...


@contextmanager
def open_view(*, quiet: bool) -> Iterator[View]:
    """Yield the view that fits stderr; quiet shows only notices."""
    console = plain_console(file=Stderr())
    view: View
    if quiet:
        view = OnlyNotices(console)
    elif console.is_terminal and not console.is_dumb_terminal:
        view = Bars(console)
    else:
        view = Lines(console)
    try:
        yield view
    finally:
        view.close()


def plain_console(**where: Any) -> Console:
    """A console that prints text unchanged: without markup, and without line breaks."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, **where)


class TaskTimes:
    """Time that each task has taken since its first event, and time that remains."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started: dict[str, tuple[float, float]] = {}

    def remaining_s(self, task: str, done: float, total: float) -> float | None:
        """Seconds until `done` reaches `total`; None while it is unknown."""
        start, done_then = self._started.setdefault(task, (self._clock(), done))
        gained = done - done_then
        if not total or gained <= 0:
            return None
        return (total - done) * (self._clock() - start) / gained

    def end(self, task: str) -> float:
        """Seconds that the task took; it can be started again."""
        now = self._clock()
        return now - self._started.pop(task, (now, 0.0))[0]


class OnlyNotices:
    """--quiet: notices only."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Show nothing."""

    def notice(self, notice: Notice) -> None:
        """Show a notice as one line."""
        self.console.print(f"notice: {notice.message}")

    def close(self) -> None:
        """Nothing to restore."""


class Tasks(OnlyNotices, ABC):
    """Running tasks, each of which ends with one line, and lines that stay."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._times = TaskTimes(clock)
        self._ended: set[str] = set()

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Show one event."""
        if kind == "train":
            step, total = fields["step"], fields["total_steps"]
            if step < total:
                self._update(fields["task"], step, total, train_facts(fields))
            else:
                self._end(fields["task"], train_facts(fields | {"eta_s": None}))
        elif kind == "progress":
            task, done, total, unit = (fields[name] for name in ("task", "done", "total", "unit"))
            eta_s = self._times.remaining_s(task, done, total)
            if not total or done < total:
                self._update(task, done, total, progress_facts(done, total, unit, eta_s))
            else:
                self._end(task, end_facts(done, unit, self._times.end(task)))
        elif (line := event_line(kind, fields)) is not None:
            self.console.print(line)

    @abstractmethod
    def show(self, task: str, done: float, total: float, facts: str) -> None:
        """Show the progress of a task."""

    def remove(self, task: str) -> None:
        """Remove the bar of a task; printed lines stay."""

    def _update(self, task: str, done: float, total: float, facts: str) -> None:
        self._ended.discard(task)
        self.show(task, done, total, facts)

    def _end(self, task: str, facts: str) -> None:
        if task not in self._ended:  # the end may be reported twice
            self._ended.add(task)
            self.remove(task)
            self.console.print(f"{task}: {facts}")


class Lines(Tasks):
    """Plain lines: at most one per task every few seconds, and its last."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._clock = clock
        self._shown: dict[str, float] = {}

    def show(self, task: str, done: float, total: float, facts: str) -> None:
        """Print a line, unless one of this task was printed recently."""
        now = self._clock()
        if task not in self._shown or now - self._shown[task] >= LINE_EVERY_S:
            self._shown[task] = now
            self.console.print(f"{task}: {facts}")


class Bars(Tasks):
    """A bar per task, redrawn in place; lines that stay are printed above the bars."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}

    def show(self, task: str, done: float, total: float, facts: str) -> None:
        """Update the bar of the task; the first bar opens the live display."""
        if self._progress is None:
            self._progress = self._open()
        if task not in self._bars:
            self._bars[task] = self._progress.add_task(task, facts=facts)
        self._progress.update(self._bars[task], completed=done, total=total or None, facts=facts)

    def remove(self, task: str) -> None:
        """Remove the bar of a task that has ended."""
        if self._progress is not None and task in self._bars:
            self._progress.remove_task(self._bars.pop(task))
            self._progress.refresh()

    def close(self) -> None:
        """Remove the bars of unfinished tasks."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _open(self) -> Progress:
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, table_column=Column(min_width=4, ratio=1)),
            TextColumn("{task.fields[facts]}", markup=False, table_column=Column(no_wrap=True)),
            console=self.console,
            transient=True,
            redirect_stdout=False,  # stdout is data, it must not move to stderr
            expand=True,
            refresh_per_second=REDRAWS_PER_S,
        )
        progress.start()
        return progress
