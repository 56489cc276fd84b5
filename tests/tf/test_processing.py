"""Rules, warpers and draws as TensorFlow operations are those of ogpt.generation, row by row."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from ogpt.errors import SamplingError
from ogpt.generation.choosing.random_numbers import sample
from ogpt.generation.choosing.rules import apply, in_place, rules, warp
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.tf.generate import processing
from ogpt.tf.generate.processing import TFTexts, check_supported, drawn, processed, warped

pytestmark = pytest.mark.slow

V, WIDTH, MOST = 30, 6, 5
RULES: list[dict[str, Any]] = [
    {"sequence_bias": {(3,): 1.5, (4, 5): -2.0, (1, 2, 7): 3.0}},
    {"repetition_penalty": 1.7},
    {"repetition_penalty": 0.6},
    {"frequency_penalty": 0.7},
    {"frequency_penalty": -0.2, "presence_penalty": 1.1},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3},
    {"bad_words_ids": [[4], [5, 6], [1, 2, 3], [7]], "eos_token_id": [7]},
    {"min_new_tokens": 2, "eos_token_id": [2, 9, 77]},
    {"allowed_token_ids": [1, 4, 9]},
    {"forced_bos_token_id": 3, "begin_suppress_tokens": [4, 5]},
    {"forced_eos_token_id": [2, 6]},
    {"suppress_tokens": [0, 29]},
    {"begin_suppress_tokens": [1, 2]},
    {"min_new_tokens": 3, "eos_token_id": [1], "repetition_penalty": 2.0, "bad_words_ids": [[1]]},
]


def drawn_texts(draw: np.random.Generator, written: int) -> tuple[list[list[int]], TFTexts]:
    """Texts of few tokens, which repeat, that begin at different columns; one prompt has one."""
    rows = [draw.integers(1, 8, size).tolist() for size in (WIDTH, 3, 1)]
    texts = [[*row, *draw.integers(1, 8, written).tolist()] for row in rows]
    ids = np.zeros((3, WIDTH + MOST), np.int32)
    for row, text in enumerate(texts):
        ids[row, WIDTH + written - len(text) : WIDTH + written] = text
    begins = tf.constant([WIDTH - len(row) for row in rows])
    return texts, TFTexts(tf.constant(ids), begins, tf.constant(WIDTH + written), WIDTH)


def both(asked: dict[str, Any], dtype: type, seed: int) -> tuple[list[Any], list[Any]]:
    """Processed logits for each number of new tokens, ours and those of the rules."""
    draw = np.random.default_rng(seed)
    settings = GenerationSettings(max_new_tokens=MOST, **asked)
    found, expected = [], []
    for written in range(MOST):
        texts, rows = drawn_texts(draw, written)
        logits = draw.normal(size=(3, V)).astype(dtype)
        found.append(processed(settings, rows, tf.constant(logits)).numpy())
        for row, ids in enumerate(texts):
            n_prompt = len(ids) - written
            expected.append(apply(rules(settings, V), ids, n_prompt, logits[row]))
    return list(np.concatenate(found)), expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("asked", RULES, ids=lambda asked: "+".join(asked))
def test_each_rule(asked: dict[str, Any], dtype: type) -> None:
    found, expected = both(asked, dtype, 1)
    assert found[0].dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype == np.float32 else 1e-13)
    assert not np.array_equal(expected, both({}, dtype, 1)[1])


@pytest.mark.parametrize("fault", ["_inside", "_repeated", "_one_of"])
def test_faults_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = getattr(processing, fault)

    def wrong(*given: Any) -> Any:
        return tf.roll(real(*given), 1, axis=-1)

    monkeypatch.setattr(processing, fault, wrong)
    seen = 0
    for asked in RULES:
        found, expected = both(asked, np.float64, 1)
        seen += not np.allclose(found, expected)
    assert seen >= 2


WARPERS: list[dict[str, Any]] = [
    {"temperature": 0.4},
    {"temperature": 1e-30},
    {"top_k": 5},
    {"top_k": 500},
    {"top_p": 0.7},
    {"min_p": 0.1},
    {"typical_p": 0.6},
    {"top_k": 12, "temperature": 1.6, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.8},
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("asked", WARPERS, ids=lambda asked: "+".join(asked))
def test_warpers_and_draws(asked: dict[str, Any], dtype: type) -> None:
    draw = np.random.default_rng(2)
    logits = (3 * draw.normal(size=(64, 400))).astype(dtype)
    logits[:, ::3] = -np.inf
    logits[:8] = np.round(logits[:8])  # ties
    settings = GenerationSettings(**asked)
    ids, left = warped(settings, tf.constant(logits))
    numbers = draw.random(64)
    places = drawn(left, tf.constant(numbers)).numpy()
    for row in range(64):
        kept, expected = warp(settings, logits[row])
        some = None if ids is None else ids[row].numpy()
        found = in_place(some, left[row].numpy(), 400)
        np.testing.assert_allclose(found, in_place(kept, expected, 400), rtol=1e-6)
        token = sample(expected, numbers[row])
        chosen = int(places[row]) if some is None else int(some[places[row]])
        assert chosen == (token if kept is None else int(kept[token]))


def test_settings_that_a_loop_lacks() -> None:
    check_supported(
        GenerationSettings(seed=3, num_beams=2, do_sample=False, prompt_lookup_num_tokens=4)
    )
    lacking: list[tuple[dict[str, Any], str]] = [
        ({"num_beams": 2}, "do_sample with num_beams is set"),
        ({"penalty_alpha": 0.5, "top_k": 4, "do_sample": False}, "penalty_alpha is set"),
        (
            {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0, "do_sample": False},
            "diversity_penalty is set; allowed in a compiled loop: allowed_token_ids, bad_words",
        ),
    ]
    for asked, match in lacking:
        with pytest.raises(SamplingError, match=match) as caught:
            check_supported(GenerationSettings(**asked))
        assert "omit jit_compile" in caught.value.hint
