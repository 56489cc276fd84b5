"""Keys on the writing page, in a document of 50,000 words.

    python -m benchmarks.keystrokes [--smoke] [--rounds 3] [--out DIR]

Chromium types through Playwright. A key takes from its press until the frame that shows it has been
painted, so that a part of it is the wait for that frame (17 ms at 60 Hz). The server runs on the
same cores, with a model of a few channels.
"""

from __future__ import annotations

import math
import shutil
import statistics
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from benchmarks.measuring import Result, Table, arguments, save
from benchmarks.serving_process import ServerProcess, ogpt_serve, write_model
from benchmarks.training_step import SMOKE

WORDS = 50_400
SENTENCE = "a bad cab faced a dead bed "
PAUSE = 120.0
"""Milliseconds between two keys: 100 words a minute."""
AT_MOST = 50.0
"""Milliseconds for a key."""
WATCH = """() => {
  window.delays = [];
  const pressed = [];
  const painted = new MessageChannel();
  painted.port1.onmessage = () => {
    const now = performance.now();
    for (const [key, at] of pressed.splice(0)) window.delays.push([key, now - at]);
  };
  const watch = (event) => {
    pressed.push([event.key, event.timeStamp]);
    requestAnimationFrame(() => painted.port2.postMessage(null));
  };
  addEventListener("keydown", watch, true);
}"""
"""A message is handled after the frame in which it was posted."""


@dataclass(frozen=True, slots=True)
class Writing:
    """A document, and how it is shown."""

    name: str
    lines: int
    """Into which the words are divided."""
    looks_inside: bool = False


WRITINGS = (
    Writing("600 lines", 600),
    Writing("600 lines, Look inside", 600, looks_inside=True),
    Writing("6,000 lines", 6_000),
    Writing("1 line", 1),
)
KEYS: Mapping[str, Sequence[str]] = {
    "letters and spaces": list("a deed abed "),
    "Enter, Backspace": ["Enter", "Backspace", "Backspace"],
    "undo, redo": ["Control+z", "Control+z", "Control+Shift+Z"],
    "arrows, Home, End": ["ArrowDown", "ArrowUp", "ArrowLeft", "End", "Control+Home"],
}


def opened(page: Page, writing: Writing, words: int, folder: Path) -> None:
    """Import the document, and put the caret into its middle."""
    lines = min(writing.lines, words)
    wait = 3_000.0 if words == WORDS else 300.0
    length = len(SENTENCE.split())
    line = SENTENCE * max(1, words // lines // length)
    path = folder / "long.txt"
    path.write_text("\n".join([line] * lines), "utf-8")
    page.set_input_files("#file", path)
    # the policy of the page forbids the eval of `wait_for_function`
    while page.locator("#editor .line").count() != lines:
        page.wait_for_timeout(50)
    if writing.looks_inside:
        page.click("#inside")
        page.wait_for_timeout(wait)  # scores of what is seen
    page.locator("#editor .line").nth(lines // 2).click()
    page.wait_for_timeout(wait)  # saving


def delays(page: Page) -> dict[str, list[float]]:
    """Milliseconds of each key, by group."""
    found: dict[str, list[float]] = {}
    for group, keys in KEYS.items():
        page.evaluate("window.delays = []")
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(PAUSE)
        pressed = page.evaluate("window.delays")
        found[group] = [delay for key, delay in pressed if key not in ("Control", "Shift")]
        assert len(found[group]) == len(keys), pressed
    return found


def measure(given: Namespace, folder: Path) -> Result:
    """All documents, in turn, in each round."""
    words = 200 if given.smoke else WORDS
    result = Result("keystrokes", "Keys on the writing page", {"words": words}, {})
    where = {"--documents": folder / "documents.sqlite3"}
    command = ogpt_serve(write_model({**SMOKE, "n_positions": 256}, folder / "model"), 1, where)
    with ServerProcess(command, 1) as server, sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        result.settings["browser"] = f"Chromium {browser.version}"
        for number in range(given.rounds):
            for writing in WRITINGS:
                print(f"round {number + 1} of {given.rounds}: {writing.name}", flush=True)
                context = browser.new_context(viewport={"width": 1200, "height": 800})
                page = context.new_page()
                page.goto(f"http://127.0.0.1:{server.port}/")
                opened(page, writing, words, folder)
                page.evaluate(WATCH)
                for group, milliseconds in delays(page).items():
                    name = f"{writing.name}: {group}"
                    result.samples.setdefault(name, []).extend(one / 1e3 for one in milliseconds)
                context.close()
        browser.close()
    return result


def describe(result: Result) -> None:
    """Add the table and a target for each document."""
    rows: list[list[Any]] = []
    for writing in WRITINGS:
        every: list[float] = []
        for group in KEYS:
            found = [1e3 * one for one in result.samples[f"{writing.name}: {group}"]]
            every += found
            rows.append([writing.name, group, *map(_shown, (statistics.median(found), max(found)))])
        high = sorted(every)[math.ceil(0.95 * len(every)) - 1]
        what = f"{writing.name}: milliseconds of 95 % of the keys"
        result.target(what, high, at_most=AT_MOST)
    result.tables = [Table(["document", "keys", "median ms", "slowest ms"], rows)]
    result.notes.append(
        f"{result.settings['words']:,} words, {result.settings['browser']}, {PAUSE:.0f} ms between "
        "two keys. From the press until the frame is painted, with the wait for the frame."
    )


def _shown(milliseconds: float) -> str:
    return f"{milliseconds:.0f}"


def main() -> None:
    given = arguments(__doc__, 3)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(given, Path(folder))
    describe(result)
    save(result, given)


if __name__ == "__main__":
    main()
