"""Notices reach the innermost listener, each one counted, or become warnings or errors."""

import contextvars
import threading

import pytest

from ogpt import notices
from ogpt.errors import StrictNotice
from ogpt.notices import KINDS, Notice, OgptNotice, collecting, listening, tell


def test_without_listener_a_warning() -> None:
    with pytest.warns(OgptNotice, match="training without torch.compile: no compiler"):
        tell("compile-unavailable", reason="no compiler")


def test_each_occurrence_counts() -> None:
    with collecting() as heard:
        tell("compile-unavailable", reason="no compiler")
        tell("compile-unavailable", reason="no compiler")
    assert heard == [Notice("compile-unavailable", {"reason": "no compiler"})] * 2


def test_innermost_listener_hears() -> None:
    with collecting() as outer:
        with collecting() as inner:
            tell("prompt-unknown", count=1, total=2)
        tell("compile-unavailable", reason="no compiler")
    assert [notice.kind for notice in inner] == ["prompt-unknown"]
    assert [notice.kind for notice in outer] == ["compile-unavailable"]


def test_listener_leaves_with_its_block_even_on_error() -> None:
    with collecting() as heard:
        with pytest.raises(RuntimeError, match="stop"), listening(lambda notice: None):
            raise RuntimeError("stop")
        tell("prompt-unknown", count=1, total=2)
    assert len(heard) == 1


def test_listeners_belong_to_their_context() -> None:
    seen: list[str] = []

    def elsewhere() -> None:
        with listening(lambda notice: seen.append(notice.kind)):
            tell("prompt-unknown", count=1, total=2)

    with collecting() as heard:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(elsewhere,))
        thread.start()
        thread.join()
    assert seen == ["prompt-unknown"]
    assert heard == []


def test_strict_refuses_the_first() -> None:
    with (
        pytest.raises(StrictNotice, match="2 of 3 prompt tokens") as caught,
        listening(notices.refuse),
    ):
        tell("prompt-unknown", count=2, total=3)
    assert "omit --strict" in caught.value.hint


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_a_sentence_over_fields(kind: str) -> None:
    class Field(str):
        def __format__(self, form: str) -> str:
            return str(self)  # also where a message writes a number as a share

    class Anything(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return Field(f"<{key}>")

    message = KINDS[kind].format_map(Anything())
    assert message
    assert not message.endswith(".")


def test_notices_are_kept_and_passed_on() -> None:
    with collecting() as heard, notices.keeping() as kept:
        tell("prompt-unknown", count=1, total=2)
    assert kept == heard == [Notice("prompt-unknown", {"count": 1, "total": 2})]
    with pytest.raises(StrictNotice), listening(notices.refuse), notices.keeping():
        tell("prompt-unknown", count=1, total=2)
