"""Settings from the arguments of transformers' `generate`.

Defaults that differ from those of `ogpt.generate` are transformers': no sampling, and top_k 50 with
sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from numbers import Integral
from textwrap import shorten
from typing import Any

from ogpt.errors import SamplingError, UnknownArgument
from ogpt.generation.choosing.drafting import Drafting
from ogpt.generation.choosing.settings import OF_TEXT, GenerationSettings, require
from ogpt.notices import tell

DEFAULT_LENGTH = 20
"""Length if none is given: new tokens, as far as they fit the context, or tokens with the prompt
(`Parity.length`)."""

_DEFAULTS: dict[str, Any] = {"do_sample": False, "top_k": 50}
_LENGTHS = ("max_length", "max_new_tokens", "min_length", "min_new_tokens")
_LISTS = ("eos_token_id", "forced_eos_token_id")  # a number or a list of them
_NUMBERS = ("bos_token_id", "pad_token_id", "forced_bos_token_id")  # a number, alone or in a list
_SETTINGS = tuple(
    item.name for item in fields(GenerationSettings) if item.name not in (*_LENGTHS, *OF_TEXT)
)
_OUTPUTS = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")
_DRAFTING = tuple(item.name for item in fields(Drafting))
_TENSORS = (  # arguments of the call itself, suggested for similar names
    "input_ids",
    "inputs",
    "inputs_embeds",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "generation_config",
    "logits_processor",
    "stopping_criteria",
    "streamer",
    "tokenizer",
    "assistant_model",
)
_INSTEAD = {
    "labels": "call the model itself: generate has no loss",
    "head_mask": "call the model itself, or remove heads with model.prune_heads",
    "past_key_values": "omit it: generate has its own KV cache",
    "mc_token_ids": "omit it: generate uses the language-model head only",
}
"""Hints for arguments of transformers that ogpt does not have."""

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    # arguments without meaning for GPT-1, and the values that change nothing
    "use_cache": (True,),
    "cache_implementation": (None,),
    "bos_token_id": (),
    "decoder_start_token_id": (None,),
    "transformers_version": (),
    "guidance_scale": (None, 1, 1.0),
    "low_memory": (False,),
    "assistant_lookbehind": (),
    "target_lookbehind": (),
    "assistant_ensemble_weight": (None,),
    "assistant_early_exit": (None,),
    "is_assistant": (False,),
    "use_mtp": (False,),
    "speculation_type": (None,),
    "max_matching_ngram_size": (),
    "token_healing": (False,),
    "top_h": (None,),
    "dola_layers": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
    "negative_prompt_ids": (None,),
    "negative_prompt_attention_mask": (None,),
    "custom_generate": (None,),
    "synced_gpus": (False,),
    "use_model_defaults": (None, True),
    "cache_config": (),
    "max_cache_len": (),
    "return_legacy_cache": (),
    "prefill_chunk_size": (),
    "compile_config": (),
    "disable_compile": (),
    "continuous_batching_config": (),
    "trust_remote_code": (),
}


KNOWN = (
    *_LENGTHS,
    *_SETTINGS,
    "stop_strings",
    "return_dict_in_generate",
    *_OUTPUTS,
    *_DRAFTING,
    *_NEUTRAL,
)
"""Arguments of `generate` that are no tensors or objects of the call itself."""

OF_CALL = (
    "logits_processor",
    "stopping_criteria",
    "prefix_allowed_tokens_fn",
    "synced_gpus",
    "assistant_model",
    "streamer",
    "negative_prompt_ids",
    "negative_prompt_attention_mask",
    "use_model_defaults",
    "custom_generate",
    "trust_remote_code",
)
"""Arguments of the call alone, which no configuration holds."""

CHECKED = {*_LENGTHS, *_SETTINGS, *_OUTPUTS, *_DRAFTING, "return_dict_in_generate"} - {
    *("max_length", "min_length"),
}
"""Arguments whose values can be checked without a prompt, and are supported."""


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call of `generate`."""

    settings: GenerationSettings
    stop_strings: list[str]
    as_dict: bool
    """Whether to return an output object instead of the sequences."""
    output_scores: bool
    output_logits: bool
    output_attentions: bool = False
    output_hidden_states: bool = False
    drafting: Drafting = field(default_factory=Drafting)


def read_arguments(
    given: Mapping[str, Any], width: int, length: str = "new", room: int = DEFAULT_LENGTH
) -> Arguments:
    """Settings from arguments with transformers' names; None disables an argument.

    Args:
        given: Arguments of the call, merged over those of a generation configuration.
        width: Number of tokens of the prompt with padding; max_length and min_length count them.
        length: Meaning of the default length of 20 tokens, `Parity.length`.
        room: Positions after the longest prompt, which limit the default length. Below 1: no limit.

    Raises:
        UnknownArgument: a name that `generate` does not have.
        SamplingError: a value outside its range, or a feature that ogpt does not have.
    """
    all_of_them = "top_k" in given and given["top_k"] is None
    given = plain({name: value for name, value in given.items() if value is not None})
    for name in given:
        if name not in KNOWN:
            near = get_close_matches(name, [*_TENSORS, *KNOWN], n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else "omit it"
            raise UnknownArgument(
                f"generate has no argument {name}; allowed: {', '.join(sorted(KNOWN))}",
                hint=_INSTEAD.get(name, hint),
            )
        if _NEUTRAL.get(name) and given[name] not in _NEUTRAL[name]:
            _not_here(name, given[name])
    values = {**_DEFAULTS, **{name: given[name] for name in _SETTINGS if name in given}}
    if isinstance(values.get("sequence_bias"), list):
        values["sequence_bias"] = _pairs(values["sequence_bias"])
    greedy = not values["do_sample"] and values.get("num_beams", 1) == 1
    if values.get("penalty_alpha") and values.get("top_k") == 1 and greedy:
        reason = "with top_k=1 contrastive search is greedy search"
        tell("setting-without-effect", setting="penalty_alpha", reason=reason)
        del values["penalty_alpha"], values["top_k"]
    sampling = values["do_sample"] or values.get("penalty_alpha")
    if "top_k" not in given and (all_of_them or not sampling):
        del values["top_k"]
    if (
        not values["do_sample"] and values.get("temperature") == 0
    ):  # means greedy decoding, which this is
        del values["temperature"]
    most, least = _lengths(given, width, length, room)
    strings = given.get("stop_strings", [])
    as_dict = bool(given.get("return_dict_in_generate", False))
    for name in _OUTPUTS:
        if given.get(name) and not as_dict:
            tell("setting-without-effect", setting=name, reason="return_dict_in_generate is off")
    return Arguments(
        settings=GenerationSettings(max_new_tokens=most, min_new_tokens=least, **values),
        stop_strings=[strings] if isinstance(strings, str) else list(strings),
        as_dict=as_dict,
        **{name: as_dict and bool(given.get(name, False)) for name in _OUTPUTS},
        drafting=Drafting(**{name: given[name] for name in _DRAFTING if name in given}),
    )


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with lists in place of tensors and arrays, and token ids in one form.

    An end token of -1 ends nothing, as in transformers, and is left out.
    """
    found = {n: v.tolist() if hasattr(v, "tolist") else v for n, v in given.items()}
    for name in _LISTS:
        if isinstance(found.get(name), Integral):
            found[name] = [found[name]]
        if isinstance(found.get(name), list | tuple):
            found[name] = [token_id for token_id in found[name] if token_id != -1]
    for name in _NUMBERS:
        if isinstance(found.get(name), list | tuple) and len(found[name]) == 1:
            [found[name]] = found[name]
    return found


def _pairs(bias: list[Any]) -> Any:
    """A bias in the form of JSON, [[[17, 4], 2.0], ...], in the form of GenerationSettings."""
    try:
        return {tuple(ids): value for ids, value in bias}
    except (TypeError, ValueError):
        return bias  # the settings raise the error


def _lengths(given: Mapping[str, Any], width: int, length: str, room: int) -> tuple[int, int]:
    """max_new_tokens and min_new_tokens.

    Raises:
        SamplingError: a length that is not a whole number, or is outside its range.
    """
    for name in _LENGTHS:
        value = given.get(name, 1)
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        require(whole, name, value, "a whole number", "pass a number of tokens")
    if "max_new_tokens" in given:
        most = given["max_new_tokens"]
        if "max_length" in given:
            tell("setting-without-effect", setting="max_length", reason="max_new_tokens is given")
    elif "max_length" in given or length == "total":
        total = given.get("max_length", DEFAULT_LENGTH)
        require(
            total > width,
            "max_length",
            total,
            f"more than the {width} tokens of the prompt",
            "use max_new_tokens, which does not count the prompt",
        )
        most = total - width
    else:
        most = min(DEFAULT_LENGTH, room) if room > 0 else DEFAULT_LENGTH
    shortest = given.get("min_length", 0)
    if "min_new_tokens" in given:
        if shortest:
            tell("setting-without-effect", setting="min_length", reason="min_new_tokens is given")
        return most, given["min_new_tokens"]
    require(
        shortest <= width or shortest - width <= most,
        "min_length",
        shortest,
        f"at most {width} tokens of the prompt and {most} new ones",
        "raise max_new_tokens",
    )
    return most, max(0, shortest - width)


def _not_here(name: str, value: Any) -> None:
    """Give notice of an argument without effect; refuse one that would change the output.

    Raises:
        SamplingError: ogpt does not have the feature.
    """
    if name in ("use_cache", "cache_implementation", "low_memory"):
        tell(
            "setting-without-effect",
            setting=name,
            reason="the KV cache is always used, and allocated once",
        )
        return
    raise SamplingError(
        f"{name} is {shorten(repr(value), 80, placeholder='...')}; allowed: {_NEUTRAL[name][0]!r}, "
        "the only value that is supported",
        hint=_INSTEAD.get(name, "omit it"),
    )
