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

    Several(a=Ear("a"), b=Ear("b"))("train", step=7)
    assert heard == [("a", "train", 7), ("b", "train", 7)]


def test_an_event_that_one_cannot_write_reaches_the_others() -> None:
    stream, room = io.StringIO(), [False, True, True]

    def full(kind: str, /, **fields: object) -> None:
        if not room.pop(0):
            raise OSError(28, "No space left on device")
        heard.append(kind)

    heard: list[str] = []
    several = Several(log=full, metrics=JsonLines(stream))
    several("train", step=1)
    several("train", step=2)
    assert heard == ["message", "train"]  # the disk had space again
    stream.close()
    room.extend([True] * 2)
    several("eval", step=3)
    assert heard[2:] == ["eval", "message"]


def test_a_failure_is_reported_once() -> None:
    stream = io.StringIO()

    def gone(kind: str, /, **fields: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    several = Several(progress=gone, metrics=JsonLines(stream))
    for step in range(3):
        several("train", step=step)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["message", "train", "train", "train"]
    assert events[0]["text"] == (
        "progress cannot be written, and the work continues: [Errno 32] Broken pipe"
    )
