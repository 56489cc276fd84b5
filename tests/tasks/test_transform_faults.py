"""Planted faults in figure 1: a delimiter missing, orders not swapped, the extract token missed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ogpt
from ogpt.data.batch import Batch
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.tasks.batching import padded
from ogpt.tasks.task_tokens import add_task_tokens
from ogpt.tasks.transforms import Sequences, TaskTokens, Transform
from tests.tasks.small import TEXTS, tokenizer

S, D, E = TOKENS = TaskTokens(900, 901, 902)
texts = st.lists(st.integers(1, 800), min_size=1, max_size=12)


class NoDelimiter(Transform):
    def _joined(self, first, second):
        return [S, *first, *second, E]


class SameOrderTwice(Transform):
    def similarity(self, first, second):
        (ids,), cut = self.entailment(first, second)
        return Sequences([ids, list(ids)], cut)


def is_figure_1(made: Transform, first: list[int], second: list[int]) -> bool:
    """Whether the sequences of all four families are those of the paper."""
    pair, back = [S, *first, D, *second, E], [S, *second, D, *first, E]
    return (
        made.classification(first).ids == [[S, *first, E]]
        and made.entailment(first, second).ids == [pair]
        and made.similarity(first, second).ids == [pair, back]
        and made.multiple_choice(first, [], [second, first]).ids
        == [pair, [S, *first, D, *first, E]]
    )


@given(texts, texts)
def test_all_families_are_those_of_the_paper(first, second):
    assert is_figure_1(Transform(TOKENS, 64), first, second)


@pytest.mark.parametrize("fault", [NoDelimiter, SameOrderTwice])
def test_faults_of_sequences_show(fault):
    assert not is_figure_1(fault(TOKENS, 64), [1, 2], [101])


def reads_extract(batch: Batch) -> bool:
    """Whether each place is that of the extract token, the last one that is no padding."""
    found = np.take_along_axis(batch.ids, batch.places[..., None], -1)
    return bool((found == E).all() and (batch.places + 1 == batch.attention_mask.sum(-1)).all())


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_places_are_those_of_the_extract_token(pairs):
    made = Transform(TOKENS, 64)
    batch = padded([made.similarity(*pair).ids for pair in pairs], D)
    assert reads_extract(batch)
    assert not reads_extract(replace(batch, places=batch.places - 1))


def test_prompts_get_no_task_tokens():
    """A fine-tuned model still writes text: its prompt is not an example."""
    words = tokenizer()
    tokens = add_task_tokens(words)
    sizes = {"n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2}
    model = OpenAIGPTLMHeadModel(ogpt.OpenAIGPTConfig(vocab_size=len(words), **sizes)).eval()
    write = ogpt.pipeline("text-generation", model, words)
    banned = list(tokens)
    plain = words.encode(TEXTS[0], add_special_tokens=False)
    found = write(TEXTS[0], max_new_tokens=2, suppress_tokens=banned, return_tensors=True)
    assert found[0]["generated_token_ids"][: len(plain)] == plain
