"""Every public name and argument of transformers' generation is ours, or has a reason."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import ogpt
from ogpt.generation.choosing.arguments import _NEUTRAL, KNOWN
from ogpt.hub import push_folder
from tests.contracts.surfaces import UPLOAD, Comparison, named
from tests.golden.generation_surface import CLASSES, of_transformers

ABSENT = {
    "construct_processor": "watermarks are rules of the searches, for every decoder",
    "dict_dtype_to_str": "a step of transformers' own calls",
}
"""Names that our classes do not have, and why."""
REFUSED = {
    "assistant_ensemble_weight": "chooses tokens that are not the model's own",
    "cache_config": "of caches that ogpt does not have",
    "compile_config": "compiles a cache that ogpt does not have",
    "constraints": "moved out of transformers 5",
    "custom_generate": "code is never downloaded",
    "dola_layers": "moved out of transformers 5",
    "force_words_ids": "moved out of transformers 5",
    "guidance_scale": "a second run of the model with another prompt",
    "negative_prompt_attention_mask": "of guidance_scale",
    "negative_prompt_ids": "of guidance_scale",
    "synced_gpus": "one process generates",
    "token_healing": "needs a tokenizer whose tokens are prefixes of each other",
    "top_h": "new in transformers 5.2; min_p and eta_cutoff serve",
    "use_model_defaults": "defaults of a model always count where a call sets nothing",
    "use_mtp": "GPT-1 predicts one token",
}
"""Arguments of transformers' generate() that ours refuses, unless they change nothing."""

ABSENT_ARGUMENTS = {
    "push_to_hub": {
        "commit_description": UPLOAD,
        "create_pr": UPLOAD,
        "max_shard_size": "for weights",
        "safe_serialization": "for weights",
        "tags": UPLOAD,
        "use_temp_dir": "a temporary folder is always used",
    }
}
"""Arguments that our methods do not have, and why."""
PASSED_ON = {
    "push_to_hub": named(push_folder),
    "generate": {*KNOWN, *REFUSED},
}
"""What a method hands on to another one, or takes as an extra, by name."""
VALUES = {
    ogpt.GenerationConfig: ogpt.GenerationConfig(),
    ogpt.WatermarkingConfig: ogpt.WatermarkingConfig(),
    ogpt.SynthIDTextWatermarkingConfig: ogpt.SynthIDTextWatermarkingConfig(2, [1]),
}


def has(kind: Any, name: str) -> bool:
    """Whether a class has a name, or values of it do."""
    return hasattr(VALUES.get(kind, kind), name)


COMPARISON = Comparison(
    file="generation_surface",
    ours={kind.__name__: [kind] for kind in VALUES} | {"generate": [ogpt.OpenAIGPTLMHeadModel]},
    absent=dict.fromkeys(CLASSES, ABSENT),
    absent_arguments={"GenerationConfig": ABSENT_ARGUMENTS},
    passed_on=PASSED_ON,
    has=has,
)


def test_nothing_of_version_4_is_missing() -> None:
    assert COMPARISON.lacking(COMPARISON.recorded()) == []


def test_nothing_of_the_installed_version_is_missing() -> None:
    pytest.importorskip("transformers")
    assert COMPARISON.lacking(of_transformers()) == []


def test_the_call_takes_them_in_transformers_order() -> None:
    """The first one is called input_ids here, and inputs by name."""
    ours = list(inspect.signature(ogpt.OpenAIGPTLMHeadModel.generate).parameters)[1:]
    [given] = COMPARISON.recorded()["generate"]["generate"] or [[]]
    assert ours[0] == "input_ids"
    assert ours[1:8] == given[1:8]


def test_every_argument_has_an_effect_or_a_reason() -> None:
    """Of what generate() knows and ignores, each is without effect on one GPT-1 or is refused."""
    refused = {name for name, neutral in _NEUTRAL.items() if neutral}
    told = {"use_cache", "cache_implementation", "low_memory", "encoder_no_repeat_ngram_size"}
    others = {"assistant_early_exit", "speculation_type", "is_assistant", "decoder_start_token_id"}
    assert refused - told - others <= set(REFUSED)


def test_no_reason_is_out_of_date() -> None:
    assert COMPARISON.outdated() == []
    by_name = inspect.signature(ogpt.OpenAIGPTLMHeadModel.generate).parameters
    assert [name for name in REFUSED if name not in {*_NEUTRAL, *by_name}] == []


@pytest.mark.parametrize(
    ("kind", "name", "signature", "found"),
    [
        ("GenerationConfig", "no_such_method", [[]], "no_such_method"),
        ("GenerationConfig", "no_such_value", None, "no_such_value"),
        ("GenerationConfig", "update", [["no_such"]], "update(no_such)"),
        ("WatermarkingConfig", "from_dict", [["no_such"]], "from_dict(no_such)"),
    ],
)
def test_a_planted_gap_is_found(kind: str, name: str, signature: Any, found: str) -> None:
    assert f"{kind}.{found}" in COMPARISON.lacking({kind: {name: signature}})
