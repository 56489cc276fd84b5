"""The paper's figure 1 on ids that show where they come from: 1.. one text, 101.. the other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpt.tasks.transforms import TaskTokens, Transform

S, D, E = TOKENS = TaskTokens(900, 901, 902)


def transform(n_positions: int = 64, *, always_cut: bool = False) -> Transform:
    return Transform(TOKENS, n_positions, always_cut)


def test_classification():
    assert transform().classification([1, 2]) == ([[S, 1, 2, E]], 0)


def test_entailment():
    assert transform().entailment([1, 2], [101]) == ([[S, 1, 2, D, 101, E]], 0)


def test_similarity_in_both_orders():
    found = transform().similarity([1, 2], [101])
    assert found == ([[S, 1, 2, D, 101, E], [S, 101, D, 1, 2, E]], 0)


def test_multiple_choice_puts_the_question_after_the_context():
    found = transform().multiple_choice([1, 2], [51], [[101], [201, 202]])
    assert found == ([[S, 1, 2, 51, D, 101, E], [S, 1, 2, 51, D, 201, 202, E]], 0)


@pytest.mark.parametrize("n_positions", [9, 10, 16])
def test_what_fits_is_not_cut(n_positions):
    premise = list(range(1, n_positions - 3))
    found = transform(n_positions).entailment(premise, [101])
    assert found == ([[S, *premise, D, 101, E]], 0)
    assert len(found.ids[0]) == n_positions


def test_what_does_not_fit_is_cut_as_in_2018():
    # n_positions // 2 - 2 tokens of each part (train.py, transform_roc: max_len)
    found = transform(16).entailment(list(range(1, 13)), list(range(101, 111)))
    assert found == ([[S, 1, 2, 3, 4, 5, 6, D, 101, 102, 103, 104, 105, 106, E]], 10)


def test_the_2018_code_cuts_what_would_fit():
    long = list(range(1, 9))
    assert transform(16).entailment(long, [101]).cut == 0
    assert transform(16, always_cut=True).entailment(long, [101]) == (
        [[S, 1, 2, 3, 4, 5, 6, D, 101, E]],
        2,
    )


def test_one_text_may_fill_the_model():
    assert transform(6).classification(list(range(1, 9))) == ([[S, 1, 2, 3, 4, E]], 4)


def test_the_context_gives_way_to_the_question():
    context, question = list(range(1, 20)), [51, 52]
    found = transform(16).multiple_choice(context, question, [[101], [201]])
    assert found.ids[0] == [S, 1, 2, 3, 4, 51, 52, D, 101, E]
    assert found.ids[1] == [S, 1, 2, 3, 4, 51, 52, D, 201, E]
    assert found.cut == 15


def test_all_choices_see_the_same_context():
    context = list(range(1, 10))
    found = transform(16).multiple_choice(context, [], [[101], list(range(201, 209))])
    prompts = {tuple(ids[: ids.index(D)]) for ids in found.ids}
    assert len(prompts) == 1


texts = st.lists(st.integers(1, 800), max_size=40)


@given(texts, texts, st.lists(texts, min_size=1, max_size=4), st.integers(8, 40), st.booleans())
def test_no_sequence_exceeds_the_model_and_cut_tokens_are_counted(
    first, second, choices, n_positions, always_cut
):
    made = Transform(TOKENS, n_positions, always_cut)
    for found, whole, sequences in (
        (made.classification(first), len(first), 1),
        (made.entailment(first, second), len(first) + len(second), 1),
        (made.similarity(first, second), len(first) + len(second), 2),
    ):
        assert len(found.ids) == sequences
        for ids in found.ids:
            assert len(ids) <= n_positions
            assert (ids[0], ids[-1]) == (S, E)
            kept = len(ids) - 2 - ids.count(D)
            assert kept == whole - found.cut
    found = made.multiple_choice(first, second, choices)
    assert all(len(ids) <= n_positions for ids in found.ids)
    kept = len(found.ids[0][1 : found.ids[0].index(D)]) + sum(
        len(ids) - 2 - ids.index(D) for ids in found.ids
    )
    assert kept + found.cut == len(first) + len(second) + sum(map(len, choices))
