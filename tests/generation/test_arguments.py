"""transformers' arguments become settings of ours, as transformers means them."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from ogpt.errors import SamplingError, UnknownArgument
from ogpt.generation.choosing import arguments
from ogpt.generation.choosing.arguments import Arguments, read_arguments
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.notices import collecting

WIDTH = 5


def read(width: int = WIDTH, **given: Any) -> Arguments:
    return read_arguments(given, width)


def told(**given: Any) -> list[tuple[str, str]]:
    with collecting() as notices:
        read(**given)
    assert {notice.kind for notice in notices} <= {"setting-without-effect"}
    return [(notice.fields["setting"], notice.fields["reason"]) for notice in notices]


def test_defaults_are_those_of_transformers() -> None:
    found = read()
    assert found == Arguments(
        GenerationSettings(max_new_tokens=20, do_sample=False), [], False, False, False
    )
    defaults = transformers.GenerationConfig()._get_default_generation_params()
    drawing = read(do_sample=True).settings
    for name in ("top_k", "temperature", "top_p", "typical_p", "repetition_penalty"):
        assert getattr(drawing, name) == defaults[name]
    for name in ("num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size"):
        assert getattr(found.settings, name) == defaults[name]


@pytest.mark.parametrize(
    ("given", "top_k"),
    [
        ({}, 0),
        ({"do_sample": True}, 50),
        ({"do_sample": True, "top_k": 3}, 3),
        ({"do_sample": True, "top_k": 0}, 0),
        ({"do_sample": True, "top_k": None}, 0),  # as in transformers: none at all
        ({"penalty_alpha": 0.6}, 50),
        ({"top_k": 7}, 7),  # which the search then reports
    ],
)
def test_top_k_is_50_where_there_are_draws(given: dict[str, Any], top_k: int) -> None:
    assert read(**given).settings.top_k == top_k


@pytest.mark.parametrize(
    ("given", "most", "least"),
    [
        ({}, 20, 0),
        ({"max_new_tokens": 7}, 7, 0),
        ({"max_length": 12}, 7, 0),
        ({"max_length": 12, "min_length": 3}, 7, 0),
        ({"max_length": 12, "min_length": 8}, 7, 3),
        ({"max_length": 12, "min_length": 12}, 7, 7),
        ({"max_new_tokens": 9, "min_new_tokens": 9}, 9, 9),
        ({"min_length": 25}, 20, 20),
        ({"max_new_tokens": None, "max_length": None, "min_length": None}, 20, 0),
        ({"min_new_tokens": 2, "min_length": 0}, 20, 2),
    ],
)
def test_lengths(given: dict[str, Any], most: int, least: int) -> None:
    found = read(**given).settings
    assert (found.max_new_tokens, found.min_new_tokens) == (most, least)


def test_a_length_that_was_not_asked_for_ends_with_the_positions() -> None:
    for room, most in ((30, 20), (20, 20), (6, 6), (1, 1), (0, 20), (-3, 20)):
        assert read_arguments({}, WIDTH, room=room).settings.max_new_tokens == most
    assert read_arguments({"max_new_tokens": 9}, WIDTH, room=6).settings.max_new_tokens == 9
    assert read_arguments({"max_length": 14}, WIDTH, room=6).settings.max_new_tokens == 9


def test_lengths_by_parity() -> None:
    assert read_arguments({}, WIDTH, "total").settings.max_new_tokens == 15
    assert read_arguments({"max_length": 9}, WIDTH, "total").settings.max_new_tokens == 4
    assert read_arguments({"max_new_tokens": 9}, WIDTH, "total").settings.max_new_tokens == 9


@pytest.mark.parametrize(
    ("given", "match", "hint"),
    [
        ({"max_length": 5}, "max_length is 5; allowed: more than the 5 tokens", "does not"),
        ({"max_length": 0}, "max_length is 0; allowed: more than the 5", "max_new_tokens"),
        (
            {"max_length": 9, "min_length": 10},
            "min_length is 10; allowed: at most 5 tokens of the prompt and 4 new",
            "raise max_new_tokens",
        ),
        ({"max_new_tokens": 0}, "max_new_tokens is 0; allowed: 1 or more", "at least 1"),
        ({"min_new_tokens": 21}, "min_new_tokens is 21; allowed: at most", "lower"),
        ({"max_length": "9"}, "max_length is '9'; allowed: a whole number", "number of tokens"),
        ({"max_new_tokens": 2.5, "min_length": 9}, "max_new_tokens is 2.5", "number of tokens"),
        ({"min_length": True}, "min_length is True; allowed: a whole number", "number of tokens"),
        ({"temperature": -1.0}, "temperature is -1.0", "do_sample=False"),
        ({"temperature": 0.0, "do_sample": True}, "temperature is 0.0", "do_sample=False"),
        ({"sequence_bias": [3]}, r"sequence_bias is \[3\]", r"{(17,): 2.0}"),
        ({"sequence_bias": [[3, 1.0]]}, r"sequence_bias is \[\[3, 1.0\]\]", r"{(17,): 2.0}"),
        ({"num_return_sequences": 2}, "num_return_sequences is 2", "do_sample=True"),
        ({"max_time": -1}, "max_time is -1; allowed: a finite number, 0 or more, or None", "limit"),
        ({"guidance_scale": 1.5}, "guidance_scale is 1.5; allowed: None", "omit it"),
        ({"epsilon_cutoff": 1.0}, "epsilon_cutoff is 1.0; allowed: 0 to below 1", "every token"),
        ({"eta_cutoff": -1}, "eta_cutoff is -1; allowed: 0 to below 1", "every token"),
        ({"encoder_repetition_penalty": 0}, "encoder_repetition_penalty is 0", "1.0"),
        ({"exponential_decay_length_penalty": (3,)}, r"is \(3,\); allowed: \(a whole", "1.05"),
        ({"prefix_allowed_tokens_fn": 3}, "is 3; allowed: a function, or None", "all tokens"),
        ({"watermarking_config": 3}, "is 3; allowed: a WatermarkingConfig or", "ogpt.Watermarking"),
        ({"watermarking_config": {"bias": "a"}}, "is {'bias': 'a'}; allowed: a Water", "None"),
        ({"num_assistant_tokens": 0}, "num_assistant_tokens is 0; allowed: 1 or more", "20"),
        ({"synced_gpus": True}, "synced_gpus is True; allowed: False", "omit it"),
        ({"eos_token_id": [-2]}, r"eos_token_id is \[-2\]; allowed: token ids", "pass ids"),
        ({"pad_token_id": [1, 2]}, r"pad_token_id is \[1, 2\]; allowed: -1 or more", "pad_token"),
    ],
)
def test_what_cannot_be(given: dict[str, Any], match: str, hint: str) -> None:
    with pytest.raises(SamplingError, match=match) as caught:
        read(**given)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temprature", "did you mean temperature?"),
        ("max_new_token", "did you mean max_new_tokens?"),
        ("attention_masks", "did you mean attention_mask?"),
        ("eos_token_ids", "did you mean eos_token_id?"),
        ("zzzzzz", "omit it"),
        ("position_idss", "did you mean position_ids?"),
        ("labels", "call the model itself: generate has no loss"),
    ],
)
def test_unknown_names_are_refused(name: str, hint: str) -> None:
    with pytest.raises(UnknownArgument, match=f"no argument {name}; allowed: .*top_k.*") as caught:
        read(**{name: 1})
    assert caught.value.hint == hint
    assert read(**{name: None}) == read()  # not given at all


def test_a_large_value_is_shown_by_its_beginning() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(50)))
    with pytest.raises(SamplingError, match=r"constraints is Sequential\(") as caught:
        read(constraints=model)
    assert len(str(caught.value)) < 200
    assert "...; allowed: None" in str(caught.value)


def test_what_to_do_instead_is_of_names_that_are_not_here() -> None:
    taken = {*arguments._LENGTHS, *arguments._SETTINGS, *arguments._OUTPUTS, *arguments._TENSORS}
    assert not taken & set(arguments._INSTEAD)


def test_arguments_without_effect_are_told() -> None:
    assert told(max_new_tokens=3, max_length=9) == [("max_length", "max_new_tokens is given")]
    assert told(min_new_tokens=1, min_length=9) == [("min_length", "min_new_tokens is given")]
    for name in ("output_scores", "output_logits", "output_attentions", "output_hidden_states"):
        assert told(**{name: True}) == [(name, "return_dict_in_generate is off")]
        assert told(**{name: True, "return_dict_in_generate": True}) == []
        assert told(**{name: False}) == []
    kept = "the KV cache is always used, and allocated once"
    assert told(use_cache=False) == [("use_cache", kept)]
    assert told(cache_implementation="static") == [("cache_implementation", kept)]
    assert told(low_memory=True) == [("low_memory", kept)]
    assert told(use_cache=True, low_memory=False, bos_token_id=3, disable_compile=True) == []


def test_outputs() -> None:
    found = read(return_dict_in_generate=True, output_scores=True)
    assert (found.as_dict, found.output_scores, found.output_logits) == (True, True, False)
    with collecting():
        found = read(output_logits=True)
    assert (found.as_dict, found.output_scores, found.output_logits) == (False, False, False)


def test_one_or_several() -> None:
    assert read(eos_token_id=3, forced_eos_token_id=4).settings.eos_token_id == (3,)
    assert read(forced_eos_token_id=4).settings.forced_eos_token_id == (4,)
    assert read(eos_token_id=[3, 4]).settings.eos_token_id == (3, 4)
    assert read(stop_strings="x").stop_strings == ["x"]
    assert read(stop_strings=("x", "y")).stop_strings == ["x", "y"]
    bias = {(3,): 1.0, (4, 5): -2.0}
    assert read(sequence_bias=bias).settings.sequence_bias == bias
    as_json = [[[3], 1.0], [[4, 5], -2.0]]
    assert read(sequence_bias=as_json).settings.sequence_bias == bias


def test_temperature_0_without_sampling_is_greedy() -> None:
    assert read(temperature=0.0).settings == read(temperature=0, do_sample=False).settings
    assert read(temperature=0.5).settings.temperature == 0.5  # which the search then reports


VERSION_4_57_6 = {
    "max_length": 20,
    "min_length": 0,
    "early_stopping": False,
    "do_sample": False,
    "num_beams": 1,
    "use_cache": True,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "renormalize_logits": False,
    "remove_invalid_values": False,
    "token_healing": False,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "return_dict_in_generate": False,
    "encoder_no_repeat_ngram_size": 0,
    "is_assistant": False,
    "num_assistant_tokens": 20,
    "num_assistant_tokens_schedule": "constant",
    "assistant_confidence_threshold": 0.4,
    "assistant_lookbehind": 10,
    "target_lookbehind": 10,
    "disable_compile": False,
    "diversity_penalty": 0.0,
    "num_beam_groups": 1,
    "transformers_version": "4.57.6",
}
"""What to_dict() of its GenerationConfig says, less what is None."""


def test_whole_configurations_of_transformers_are_taken() -> None:
    found = read(**VERSION_4_57_6).settings
    assert found == GenerationSettings(max_new_tokens=15, do_sample=False, top_k=50)
    config = transformers.GenerationConfig()
    newer = {**config.to_dict(), **config._get_default_generation_params(), "max_length": None}
    del newer["_from_model_config"]
    assert read(**newer) == read(top_k=50)


def test_every_name_of_transformers_is_known() -> None:
    names = {name for name in transformers.GenerationConfig().to_dict() if name[0] != "_"}
    names |= set(VERSION_4_57_6)
    assert names <= set(arguments.KNOWN)
    assert len(set(arguments.KNOWN)) == len(arguments.KNOWN)


def test_ids_as_tensors_lists_and_minus_one() -> None:
    for ends in (7, [7], (7,), [-1, 7], torch.tensor(7), torch.tensor([7]), np.array([7, -1])):
        assert read(eos_token_id=ends).settings.eos_token_id == (7,)
    for none in (-1, [-1], torch.tensor([-1]), []):
        assert read(eos_token_id=none).settings == read().settings
    for pad in (-1, [-1], torch.tensor(-1), torch.tensor([-1])):
        assert read(pad_token_id=pad).settings.pad_token_id == -1
    assert read(suppress_tokens=torch.tensor([3, 4])).settings.suppress_tokens == (3, 4)
    assert read(forced_bos_token_id=torch.tensor([3])).settings.forced_bos_token_id == 3


def test_contrastive_search_among_one_candidate_is_greedy_search() -> None:
    """As in transformers, where it needs a top_k above 1."""
    with collecting() as notices:
        found = read(penalty_alpha=0.6, top_k=1)
    assert found == read()
    assert [notice.fields["setting"] for notice in notices] == ["penalty_alpha"]
    theirs = transformers.GenerationConfig(penalty_alpha=0.6, top_k=1)
    assert theirs.get_generation_mode() == "greedy_search"
