"""Examples become sequences of the transforms, with labels; what is too long is reported."""

import numpy as np
import pytest

from ogpt.errors import ConfigError, DataError, TokenizerError
from ogpt.notices import collecting
from ogpt.tasks.encoded_examples import encode_examples
from ogpt.tasks.example import FAMILIES, Example
from ogpt.tasks.labels import infer_labels, infer_problem
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tasks.task_tokens import add_task_tokens, task_tokens
from ogpt.tasks.transforms import Transform
from tests.tasks.small import examples, tokenizer


def spec_of(family, rows):
    problem = infer_problem(rows, family)
    labels = () if family == "multiple-choice" else infer_labels(rows, problem)
    return TaskSpec(family=family, problem=problem, labels=labels)


def encoded(family, rows=None, n_positions=64, **options):
    rows = examples(family) if rows is None else rows
    with_tokens = tokenizer()
    transform = Transform(add_task_tokens(with_tokens), n_positions)
    return encode_examples(rows, spec_of(family, rows), with_tokens, transform, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_sequences_are_those_of_the_transforms(family):
    rows = examples(family)
    found = encoded(family, rows)
    plain, with_tokens = tokenizer(), tokenizer()
    start, delimiter, extract = add_task_tokens(with_tokens)
    assert (start, delimiter, extract) == tuple(len(plain) + n for n in range(3))
    first, *others = (plain.encode(text) for text in rows[0].texts)
    pairs = [[start, *first, delimiter, *other, extract] for other in others]
    expected = {
        "classification": [[start, *first, extract]],
        "entailment": pairs,
        "similarity": [*pairs, *([start, *o, delimiter, *first, extract] for o in others)],
        "multiple-choice": pairs[1:],  # the first is the question, which is empty
    }
    assert found.sequences[0] == expected[family]
    assert len(found) == len(rows) == len(found.labels)
    assert (found.too_long, found.cut) == (0, 0)


def test_task_tokens_are_added_once():
    with_tokens = tokenizer()
    assert add_task_tokens(with_tokens) == add_task_tokens(with_tokens) == task_tokens(with_tokens)


def test_a_tokenizer_without_task_tokens_is_refused():
    with pytest.raises(TokenizerError, match="has no token '_start_'") as error:
        task_tokens(tokenizer())
    assert "folder" in error.value.hint


LONG = "good film " * 40


def test_cutting_is_reported_once_with_its_size():
    rows = [*examples("classification"), Example((LONG,), "bad", "row 8")]
    with collecting() as notices:
        found = encoded("classification", rows, 32, what="the training rows")
    assert [notice.kind for notice in notices] == ["examples-cut"]
    assert "1 of 9 examples of the training rows" in notices[0].message
    assert len(found) == 9
    assert found.too_long == 1
    assert found.cut == len(tokenizer().encode(LONG)) - 30
    assert len(found.sequences[8][0]) == 32


def test_long_examples_can_be_left_out():
    rows = [Example((LONG,), "bad", "row 0"), *examples("classification")]
    with collecting() as notices:
        found = encoded("classification", rows, 32, on_too_long="skip")
    assert [notice.kind for notice in notices] == ["examples-skipped"]
    assert found.kept.tolist() == list(range(1, 9))
    assert len(found.labels) == len(found) == 8


def test_long_examples_can_be_refused():
    rows = [*examples("classification"), Example((LONG,), "bad", "x.jsonl:9")]
    with pytest.raises(DataError, match=r"x.jsonl:9 is \d+ tokens too long for a model of 32"):
        encoded("classification", rows, 32, on_too_long="error")


def test_another_way_with_long_examples_is_refused():
    with pytest.raises(ConfigError, match="on_too_long is 'cut'; allowed: truncate, error, skip"):
        encoded("classification", on_too_long="cut")
    rows = [Example(("a film",)), Example((LONG,))]
    spec, words = TaskSpec(family="classification"), tokenizer()
    transform = Transform(add_task_tokens(words), 32)
    with pytest.raises(DataError, match="example 2 is"):  # counted from 1, as rows are
        encode_examples(rows, spec, words, transform, on_too_long="error")


@pytest.mark.parametrize("text", ["", "  ", "\x00"])
def test_an_empty_text_is_named(text):
    rows = [*examples("classification"), Example((text,), "bad", "x.jsonl:9")]
    with pytest.raises(DataError, match=r"text 1 of x.jsonl:9, .* has no tokens"):
        encoded("classification", rows)


def test_unknown_tokens_are_reported():
    rows = [Example(("東京 東京 東京",), label, "x") for label in ("a", "b")]
    with collecting() as notices:
        encoded("classification", rows, what="the training rows")
    assert "of the tokens of the training rows are unknown" in notices[0].message


def test_labels_are_numbers():
    assert encoded("classification").labels.tolist() == [1, 0] * 4  # bad, good
    assert encoded("similarity").labels.tolist() == [index / 2 for index in range(8)]
    assert encoded("multiple-choice").labels.tolist() == [0, 1] * 4
    several = [Example((text,), label) for text, label in (("a", ("x", "y")), ("a", ()))]
    found = encoded("classification", several)
    assert np.array_equal(found.labels, [[1, 1], [0, 0]])


def test_rows_without_labels_have_none():
    rows = [Example(("a film",))]
    spec = TaskSpec(family="classification", labels=("bad", "good"))
    with_tokens = tokenizer()
    transform = Transform(add_task_tokens(with_tokens), 32)
    assert encode_examples(rows, spec, with_tokens, transform).labels is None
