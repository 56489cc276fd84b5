"""The views of long work on stderr: bars on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ogpt.cli.figures import event_line, progress_facts, train_facts
from ogpt.notices import Notice

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LINE_EVERY_S = 5.0
"""Seconds between two lines about the same task where nothing can be redrawn."""

REDRAWS_PER_S = 4.0


class View(Protocol):
    """A Reporter that also shows notices, and is closed when the command ends."""

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Show one event."""
        ...

    def notice(self, notice: Notice) -> None:
        """Show a notice."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


@contextmanager
def open_view(*, quiet: bool) -> Iterator[View]:
    """Yield the view that fits stderr; quiet leaves only notices."""
    console = plain_console(stderr=True)
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
    """A console that prints text as it comes: nothing in it is markup, no line is broken."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, **where)


class Remaining:
    """Time left of each task, from its own pace since it was first heard of."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: dict[str, tuple[float, float]] = {}

    def __call__(self, task: str, done: float, total: float) -> float | None:
        """Seconds until `done` reaches `total`; None while nothing can be said."""
        started, done_then = self._begun.setdefault(task, (self._clock(), done))
        gained = done - done_then
        if not total or gained <= 0:
            return None
        return max(0.0, total - done) * (self._clock() - started) / gained


class OnlyNotices:
    """--quiet: notices (and errors, elsewhere) and nothing else."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Show nothing."""

    def notice(self, notice: Notice) -> None:
        """Show a notice as one line."""
        self.console.print(f"notice: {notice.message}")

    def close(self) -> None:
        """Nothing is open."""


class Lines(OnlyNotices):
    """Plain lines: of each task at most one every few seconds, and its last."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._clock = clock
        self._remaining = Remaining(clock)
        self._shown: dict[str, tuple[float, str]] = {}  # when, and what

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Show the event, unless its task was shown just now."""
        if kind == "train":
            finished = fields["step"] >= fields["total_steps"]
            self._ongoing("training", train_facts(fields), finished)
        elif kind == "progress":
            task, done, total = fields["task"], fields["done"], fields["total"]
            eta_s = self._remaining(task, done, total)
            facts = progress_facts(done, total, fields["unit"], eta_s)
            self._ongoing(task, facts, bool(total) and done >= total)
        elif (line := event_line(kind, fields)) is not None:
            self.console.print(line)

    def _ongoing(self, task: str, facts: str, finished: bool) -> None:
        now = self._clock()
        when, what = self._shown.get(task, (-LINE_EVERY_S, ""))
        if facts != what and (finished or now - when >= LINE_EVERY_S):
            self._shown[task] = now, facts
            self.console.print(f"{task}: {facts}")


class Bars(OnlyNotices):
    """A bar for each task, redrawn in place; lines that stay are printed above the bars."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._remaining = Remaining(clock)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._finished: dict[str, str] = {}

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Move the bar of a task, or print a line above the bars."""
        if kind == "train":
            self._move("training", fields["step"], fields["total_steps"], train_facts(fields))
        elif kind == "progress":
            task, done, total = fields["task"], fields["done"], fields["total"]
            eta_s = self._remaining(task, done, total)
            self._move(task, done, total, progress_facts(done, total, fields["unit"], eta_s))
        elif (line := event_line(kind, fields)) is not None:
            self.console.print(line)

    def close(self) -> None:
        """Take the bars of unfinished tasks away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _move(self, task: str, done: float, total: float, facts: str) -> None:
        if total and done >= total:
            self._finish(task, facts)
            return
        if self._progress is None:
            self._progress = self._start()
        if task not in self._tasks:
            self._tasks[task] = self._progress.add_task(task, facts=facts)
        self._progress.update(self._tasks[task], completed=done, total=total or None, facts=facts)

    def _finish(self, task: str, facts: str) -> None:
        if self._progress is not None and task in self._tasks:
            self._progress.remove_task(self._tasks.pop(task))
        if self._finished.get(task) != facts:
            self._finished[task] = facts
            self.console.print(f"{task}: {facts}")

    def _start(self) -> Progress:
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
