"""What is odd about the examples of a task is reported before training."""

from __future__ import annotations

from ogpt.notices import collecting
from ogpt.tasks.example import Example
from ogpt.tasks.task_data import TaskData, check_data
from ogpt.tasks.task_spec import TaskSpec

SPEC = TaskSpec(family="classification", labels=("a", "b"))


def examples(*texts: str) -> tuple[Example, ...]:
    return tuple(Example((text,), "ab"[n % 2], f"row {n}") for n, text in enumerate(texts))


def test_leaks_between_all_splits_are_counted() -> None:
    data = TaskData(
        SPEC,
        examples("one", "two", "one"),
        {"valid": examples("two", "three")},
        {"test": examples("three", "one", "four"), "other": examples("five")},
    )
    with collecting() as notices:
        check_data(data, 2)
    assert [notice.message.partition(":")[0] for notice in notices] == [
        "1 of 3 training examples repeat others, word for word",
        "1 of 2 examples of valid are training examples too, word for word",
        "1 of 3 examples of test are training examples too, word for word",
        "1 of 3 examples of test are validation examples too, word for word",
    ]


def test_examples_of_other_sets_that_are_scored_too_are_no_leak() -> None:
    train, valid = examples("one", "four"), examples("two", "three")
    data = TaskData(SPEC, train, {"valid": valid}, {"valid": valid, "sample": train[1:]})
    with collecting() as notices:
        check_data(data, 2)
    assert notices == []


def test_rare_classes_are_reported() -> None:
    many = tuple(Example((f"text {n}",), "a") for n in range(10))
    data = TaskData(SPEC, (*many, Example(("rare",), "b")), {"valid": examples("x", "y")})
    with collecting() as notices:
        check_data(data, 2)
    assert [notice.fields for notice in notices] == [
        {"most": "a", "many": 10, "least": "b", "few": 1}
    ]
