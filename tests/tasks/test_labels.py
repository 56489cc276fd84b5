"""Labels: what they are, their names, and clear errors for those that do not fit."""

from itertools import permutations

import pytest

from ogpt.errors import DataError
from ogpt.tasks.example import Example
from ogpt.tasks.labels import infer_labels, infer_problem, label_array
from ogpt.tasks.task_spec import TaskSpec


def rows(*labels, texts=("a",)):
    return [Example(texts, label, f"x.jsonl:{n}") for n, label in enumerate(labels, 1)]


@pytest.mark.parametrize(
    ("labels", "family", "problem"),
    [
        (("a", "b"), "classification", "single_label_classification"),
        ((0, 1, 2), "classification", "single_label_classification"),
        ((0.0, 1.0), "classification", "single_label_classification"),
        ((0.5, 1), "classification", "regression"),
        ((0, 5), "similarity", "regression"),
        (("0", "1"), "similarity", "single_label_classification"),
        ((("a",), ()), "classification", "multi_label_classification"),
        ((0, 1), "multiple-choice", "single_label_classification"),
    ],
)
def test_the_problem_follows_from_the_labels(labels, family, problem):
    assert infer_problem(rows(*labels), family) == problem


@pytest.mark.parametrize(
    ("labels", "family", "message"),
    [
        ((0.5, 2, "high", 4), "similarity", r"x.jsonl:3 is 'high', a text; 3 of 4 .* such as 0.5"),
        (("nan", 1, 2), "similarity", r"x.jsonl:1 is 'nan', a text; 2 of 3 labels are of an"),
        (("a", "b", 0.5), "classification", r"x.jsonl:3 is 0.5, a number; .* such as 'a'"),
        ((("a",), "b", ("b",)), "classification", r"x.jsonl:2 is 'b', a text; .*'a'"),
        ((1, 2, ("b",)), "entailment", r"x.jsonl:3 is \('b',\), a list; .* such as 1"),
    ],
)
def test_a_label_of_another_kind_does_not_change_the_problem(labels, family, message):
    with pytest.raises(DataError, match=message) as error:
        infer_problem(rows(*labels), family)
    assert "--problem" in error.value.hint


def test_whole_numbers_and_words_are_classes():
    labels = (0, 1, "unknown", None)
    assert infer_problem(rows(*labels), "classification") == "single_label_classification"


def test_names_are_sorted_and_numbers_by_value():
    kind = "single_label_classification"
    assert infer_labels(rows("b", "a", "b"), kind) == ("a", "b")
    assert infer_labels(rows(10, 9, 2.0), kind) == ("2", "9", "10")
    assert infer_labels(rows(("b", "a"), ("c",)), "multi_label_classification") == ("a", "b", "c")
    for names in permutations(("nan", "10", "inf", "9")):
        assert infer_labels(rows(*names), kind) == ("9", "10", "inf", "nan")
    assert infer_labels(rows(0.5), "regression") == ()


@pytest.mark.parametrize("labels", [("a", "a"), [str(n) for n in range(1001)]])
def test_one_class_or_identifiers_are_refused(labels):
    with pytest.raises(
        DataError, match=r"distinct values of the label column: \d+ .*; allowed: 2 to 1,000"
    ) as error:
        infer_labels(rows(*labels), "single_label_classification")
    assert "regression" in error.value.hint
    assert ("one class alone" in error.value.hint) == (len(labels) == 2)


def test_an_unknown_label_is_named_with_those_allowed():
    spec = TaskSpec(family="classification", labels=("bad", "good"))
    with pytest.raises(DataError, match=r"x.jsonl:2 is 'goood'; allowed: 'bad', 'good'"):
        label_array(rows("good", "goood"), spec)


def test_a_list_for_one_class_is_named():
    spec = TaskSpec(family="classification", labels=("a", "b"))
    with pytest.raises(DataError, match=r"x.jsonl:1 is the list \['a', 'b'\]; allowed: one class"):
        label_array(rows(("a", "b")), spec)


def test_some_rows_without_a_label_are_named():
    spec = TaskSpec(family="classification", labels=("a", "b"))
    with pytest.raises(DataError, match=r"x.jsonl:2 has no label; 1 of 2 rows have none"):
        label_array(rows("a", None), spec)


@pytest.mark.parametrize("label", ["high", float("nan"), float("inf"), None.__class__])
def test_a_score_is_a_finite_number(label):
    spec = TaskSpec(family="similarity", problem="regression")
    with pytest.raises(DataError, match=r"x.jsonl:1 is .*; allowed: a finite number"):
        label_array(rows(label), spec)


@pytest.mark.parametrize("label", [2, -1, 0.5, "B", True])
def test_a_choice_is_its_number(label):
    spec = TaskSpec(family="multiple-choice")
    with pytest.raises(DataError, match=r"x.jsonl:1 is .*; allowed: the number .* at most 1"):
        label_array(rows(label, texts=("context", "", "a", "b")), spec)
