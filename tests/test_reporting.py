"""Reporters take events: JSON lines, or several at once."""

import io
import json

from ogpt.reporting import JsonLines, Several


def test_json_lines_are_flushed_events() -> None:
    class Stream(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    stream = Stream()
    reporter = JsonLines(stream)
    reporter("train", step=1, loss=2.5)
    reporter("message", text="café\nnext")
    lines = stream.getvalue().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"event": "train", "step": 1, "loss": 2.5},
        {"event": "message", "text": "café\nnext"},
    ]
    assert stream.flushed == 2


def test_several_pass_each_event_on_in_order() -> None:
    heard: list[tuple[str, str, int]] = []

    class Ear:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, kind: str, /, **fields: int) -> None:
            heard.append((self.name, kind, fields["step"]))

    Several(Ear("a"), Ear("b"))("train", step=7)
    assert heard == [("a", "train", 7), ("b", "train", 7)]
