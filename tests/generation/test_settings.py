from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ogpt.config.ranges import MAX_SEED
from ogpt.errors import SamplingError
from ogpt.generation.choosing.settings import GenerationSettings

NAN = float("nan")


@pytest.mark.parametrize(
    ("setting", "seen", "allowed", "hint"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0", "1 or more", "at least 1"),
        ({"max_new_tokens": 2.5}, "max_new_tokens is 2.5", "1 or more", "at least 1"),
        ({"max_new_tokens": True}, "max_new_tokens is True", "1 or more", "at least 1"),
        ({"min_new_tokens": -1}, "min_new_tokens is -1", "0 or more", "to disable"),
        (
            {"min_new_tokens": 60},
            "min_new_tokens is 60",
            r"at most max_new_tokens \(50\)",
            "raise max_new_tokens",
        ),
        ({"eos_token_id": 3}, "eos_token_id is 3", "token ids, each 0 or more", "pass ids"),
        ({"eos_token_id": [-1]}, r"eos_token_id is \[-1\]", "token ids", "pass ids"),
        ({"pad_token_id": -2}, "pad_token_id is -2", "-1 or more, or None", "pad_token_id"),
        ({"do_sample": 1}, "do_sample is 1", "True, False", "top token"),
        ({"temperature": 0.0}, "temperature is 0.0", "a finite number above 0", "do_sample=False"),
        ({"temperature": NAN}, "temperature is nan", "a finite number above 0", "do_sample=False"),
        ({"temperature": "hot"}, "temperature is 'hot'", "a finite number", "do_sample=False"),
        ({"top_k": -1}, "top_k is -1", "0 or more", "keep every token"),
        ({"top_p": 0}, "top_p is 0", "above 0 and at most 1", "0.9"),
        ({"top_p": 1.5}, "top_p is 1.5", "above 0 and at most 1", "0.9"),
        ({"min_p": -0.1}, "min_p is -0.1", "0 to 1", "0.05"),
        ({"min_p": 2}, "min_p is 2", "0 to 1", "0.05"),
        ({"typical_p": 0.0}, "typical_p is 0.0", "above 0 and at most 1", "0.95"),
        ({"seed": -1}, "seed is -1", f"0 to {MAX_SEED}", "in that range"),
        ({"seed": 2**64}, f"seed is {2**64}", f"0 to {MAX_SEED}", "in that range"),
        ({"num_return_sequences": 0}, "num_return_sequences is 0", "1 to 65536", "another seed"),
        ({"num_return_sequences": 65_537}, "num_return_sequences is 65537", "65536", "seed"),
        (
            {"num_return_sequences": 2, "do_sample": False},
            "num_return_sequences is 2",
            "1 without sampling",
            "do_sample=True",
        ),
        (
            {"num_return_sequences": 3, "num_beams": 2},
            "num_return_sequences is 3",
            r"at most num_beams \(2\)",
            "raise num_beams",
        ),
        ({"repetition_penalty": 0}, "repetition_penalty is 0", "above 0", "1.2"),
        ({"frequency_penalty": 2.1}, "frequency_penalty is 2.1", "-2 to 2", "to disable"),
        ({"presence_penalty": -3}, "presence_penalty is -3", "-2 to 2", "to disable"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1", "0 or more", "to disable"),
        ({"bad_words_ids": 3}, "bad_words_ids is 3", "a list of words", "encode each word"),
        ({"bad_words_ids": [[1], []]}, r"bad_words_ids is \[\[1\], \[\]\]", "a list", "encode"),
        ({"bad_words_ids": [3]}, r"bad_words_ids is \[3\]", "a list of words", "encode each"),
        ({"suppress_tokens": ["a"]}, r"suppress_tokens is \['a'\]", "token ids", "pass ids"),
        ({"begin_suppress_tokens": [1.5]}, r"is \[1.5\]", "token ids", "pass ids"),
        ({"sequence_bias": [[1], 2.0]}, r"is \[\[1\], 2.0\]", "numbers", r"{(17,): 2.0}"),
        ({"sequence_bias": {(): 2.0}}, r"is {\(\): 2.0}", "numbers", r"{(17,): 2.0}"),
        ({"sequence_bias": {(1,): NAN}}, r"is {\(1,\): nan}", "numbers", r"{(17,): 2.0}"),
        ({"sequence_bias": {(-1,): 1}}, r"is {\(-1,\): 1}", "numbers", r"{(17,): 2.0}"),
        (
            {"forced_bos_token_id": -2},
            "forced_bos_token_id is -2",
            "0 or more, or None",
            "force no token",
        ),
        (
            {"forced_bos_token_id": 2, "suppress_tokens": [1, 2]},
            "forced_bos_token_id is 2",
            "a token that is not in suppress_tokens",
            "remove it",
        ),
        (
            {"forced_eos_token_id": [1, 2], "suppress_tokens": [1, 2]},
            r"forced_eos_token_id is \(1, 2\)",
            "a token that is not in suppress_tokens",
            "remove it",
        ),
        (
            {"allowed_token_ids": [2], "suppress_tokens": [1, 2]},
            r"allowed_token_ids is \(2,\)",
            "a token that is not in suppress_tokens",
            "remove it",
        ),
        ({"allowed_token_ids": [-1]}, r"is \[-1\]", "token ids, each 0 or more", "pass ids"),
        ({"prompt_lookup_num_tokens": -1}, "tokens is -1", "0 or more, or None", "to disable"),
        ({"prompt_lookup_num_tokens": 1.5}, "tokens is 1.5", "0 or more, or None", "to disable"),
        ({"num_beams": 0}, "num_beams is 0", "1 or more", "disable beam search"),
        ({"num_beam_groups": 0}, "num_beam_groups is 0", "1 or more", "one group"),
        (
            {"num_beams": 4, "num_beam_groups": 3},
            "num_beam_groups is 3",
            r"a divisor of num_beams \(4\)",
            "the same number of beams",
        ),
        (
            {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
            "num_beam_groups is 2",
            "1 with do_sample=True",
            "does not sample",
        ),
        (
            {"num_beams": 4, "num_beam_groups": 2, "do_sample": False},
            "diversity_penalty is 0.0",
            "above 0 with 2 beam groups",
            "all groups are equal",
        ),
        ({"diversity_penalty": -1}, "diversity_penalty is -1", "0 or more", "common choice"),
        ({"length_penalty": NAN}, "length_penalty is nan", "-100 to 100", "longer texts"),
        ({"length_penalty": 101}, "length_penalty is 101", "-100 to 100", "longer texts"),
        ({"early_stopping": "soon"}, "early_stopping is 'soon'", "True, False, never", "best"),
        ({"early_stopping": 1}, "early_stopping is 1", "True, False, never", "best"),
        (
            {"temperature": 10**400},
            "temperature is 10+",
            "a finite number above 0",
            "do_sample=False",
        ),
        ({"bad_words_ids": [3.5]}, r"bad_words_ids is \[3.5\]", "a list of words", "encode each"),
        ({"stop": ["b", ""]}, r"stop is \['b', ''\]", "one character or more", "omit"),
        ({"stop": ""}, "stop is ''", "one character or more", "omit"),
        ({"ban": 3}, "ban is 3", "one character or more", "omit"),
        ({"bias": {"": 1.0}}, "bias is {'': 1.0}", "texts of one character", "the cat"),
        ({"bias": {"a": "b"}}, "bias is {'a': 'b'}", "texts of one character", "the cat"),
        ({"bias": {(1,): 1.0}}, r"bias is {\(1,\): 1.0}", "texts of one character", "the cat"),
        ({"top_logprobs": -1}, "top_logprobs is -1", "0 or more", "to disable"),
        ({"penalty_alpha": 1.1}, "penalty_alpha is 1.1", "0 to 1", "0.6"),
        (
            {"penalty_alpha": 0.6, "num_beams": 2, "do_sample": False, "top_k": 4},
            "num_beams is 2",
            r"1 with penalty_alpha \(0.6\)",
            "has no beams",
        ),
        (
            {"penalty_alpha": 0.6, "top_k": 4},
            "do_sample is True",
            r"False with penalty_alpha \(0.6\)",
            "does not sample",
        ),
        (
            {"penalty_alpha": 0.6, "do_sample": False},
            "top_k is 0",
            r"2 or more with penalty_alpha \(0.6\)",
            "among top_k tokens",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(
    setting: dict[str, Any], seen: str, allowed: str, hint: str
) -> None:
    with pytest.raises(SamplingError, match=f"{seen}; allowed: .*{allowed}") as caught:
        GenerationSettings(**setting)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "setting",
    [
        {"num_beams": 4, "num_return_sequences": 4, "do_sample": False, "early_stopping": "never"},
        {"num_beams": 4, "num_beam_groups": 2, "do_sample": False, "diversity_penalty": 0.5},
        {"num_beams": 4, "length_penalty": -1.0, "early_stopping": True},
        {"penalty_alpha": 0.6, "top_k": 4, "do_sample": False},
        {"forced_eos_token_id": (1, 2), "suppress_tokens": (1,)},
        {"sequence_bias": {(1,): float("-inf")}},
        {"seed": MAX_SEED},
    ],
)
def test_settings_that_can_be_are_kept(setting: dict[str, Any]) -> None:
    found = GenerationSettings(**setting)
    assert all(
        getattr(found, name) == value
        for name, value in setting.items()
        if name[-6:] != "tokens" and name[-2:] != "id"
    )
    assert replace(found) == found


def test_values_are_kept_as_plain_python() -> None:
    found = GenerationSettings(
        top_k=np.int64(3),
        temperature=np.float64(0.5),
        repetition_penalty=2,
        eos_token_id=np.array([1, 2]),
        bad_words_ids=[[1], np.array([2, 3])],
        sequence_bias={(np.int64(4), 5): 1},
        suppress_tokens=range(2),
    )
    assert type(found.top_k) is int
    assert type(found.temperature) is float
    assert type(found.repetition_penalty) is float
    assert found.eos_token_id == (1, 2)
    assert found.bad_words_ids == ((1,), (2, 3))
    assert found.sequence_bias == {(4, 5): 1.0}
    assert found.suppress_tokens == (0, 1)
    ids = (*found.eos_token_id, *found.bad_words_ids[1], *next(iter(found.sequence_bias)))
    assert {type(token_id) for token_id in ids} == {int}


def test_what_is_given_stays_the_callers() -> None:
    bias = {(1,): 1.0}
    found = GenerationSettings(sequence_bias=bias)
    bias[(2,)] = 1.0
    assert found.sequence_bias == {(1,): 1.0}
