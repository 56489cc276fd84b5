"""Settings from the arguments of transformers' `generate`.

Defaults that differ from those of `ogpt.generate` are transformers': no sampling, and top_k 50 with
sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Integral
from textwrap import shorten
from typing import Any

from ogpt.errors import SamplingError, UnknownArgument
from ogpt.generation.choosing.settings import OF_TEXT, GenerationSettings, require
from ogpt.notices import tell

DEFAULT_LENGTH = 20
"""Length if none is given: new tokens, as far as they fit the context, or tokens with the prompt
(`Parity.length`)."""

_DEFAULTS: dict[str, Any] = {"do_sample": False, "top_k": 50}
_LENGTHS = ("max_length", "max_new_tokens", "min_length", "min_new_tokens")
_LISTS = ("eos_token_id", "forced_eos_token_id")  # a number or a list of them
_SETTINGS = tuple(
    item.name for item in fields(GenerationSettings) if item.name not in (*_LENGTHS, *OF_TEXT)
)
_OUTPUTS = ("return_dict_in_generate", "output_scores", "output_logits")
_TENSORS = (  # arguments of the call itself, suggested for similar names
    "input_ids",
    "inputs",
    "inputs_embeds",
    "attention_mask",
    "token_type_ids",
    "generation_config",
    "logits_processor",
    "stopping_criteria",
    "streamer",
    "tokenizer",
)
_INSTEAD = {
    "position_ids": "omit it: positions follow from attention_mask",
    "labels": "call the model itself: generate has no loss",
    "head_mask": "call the model itself, or remove heads with model.prune_heads",
    "past_key_values": "omit it: generate has its own KV cache",
    "mc_token_ids": "omit it: generate uses the language-model head only",
    "max_time": "pass a criterion of your own in stopping_criteria",
    "prefix_allowed_tokens_fn": "pass a logits_processor of your own; allowed_token_ids allows the "
    "same tokens at every step",
    "exponential_decay_length_penalty": "use length_penalty with beams",
    "output_attentions": "call the model itself on the sequences",
    "output_hidden_states": "call the model itself on the sequences",
}
"""Hints for arguments of transformers that ogpt does not have."""

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    # arguments without meaning for GPT-1, and the values that change nothing
    "use_cache": (True,),
    "cache_implementation": (None,),
    "bos_token_id": (),
    "decoder_start_token_id": (None,),
    "transformers_version": (),
    "renormalize_logits": (False,),
    "remove_invalid_values": (False,),
    "epsilon_cutoff": (0, 0.0),
    "eta_cutoff": (0, 0.0),
    "encoder_repetition_penalty": (1, 1.0),
    "encoder_no_repeat_ngram_size": (0,),
    "guidance_scale": (None, 1, 1.0),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
    "low_memory": (False,),
    "max_time": (None,),
    "exponential_decay_length_penalty": (None,),
    "num_assistant_tokens": (),
    "num_assistant_tokens_schedule": (),
    "assistant_confidence_threshold": (),
    "assistant_lookbehind": (),
    "target_lookbehind": (),
    "assistant_ensemble_weight": (),
    "assistant_early_exit": (None,),
    "assistant_model": (None,),
    "is_assistant": (False,),
    "use_mtp": (False,),
    "speculation_type": (None,),
    "max_matching_ngram_size": (),
    "token_healing": (False,),
    "watermarking_config": (None,),
    "top_h": (None,),
    "dola_layers": (None,),
    "constraints": (None,),
    "force_words_ids": (None,),
    "negative_prompt_ids": (None,),
    "prefix_allowed_tokens_fn": (None,),
    "custom_generate": (None,),
    "synced_gpus": (False,),
    "cache_config": (),
    "max_cache_len": (),
    "return_legacy_cache": (),
    "prefill_chunk_size": (),
    "compile_config": (),
    "disable_compile": (),
    "continuous_batching_config": (),
    "trust_remote_code": (),
}


class GenerationConfig(dict[str, Any]):
    """Arguments of `generate` by name, also as attributes; one that is not set is None."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # names that Python looks up, as in copying
            raise AttributeError(name)
        return self.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call of `generate`."""

    settings: GenerationSettings
    stop_strings: list[str]
    as_dict: bool
    """Whether to return an output object instead of the sequences."""
    output_scores: bool
    output_logits: bool


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
    given = {name: value for name, value in given.items() if value is not None}
    known = [*_LENGTHS, *_SETTINGS, *_OUTPUTS, "stop_strings", *_NEUTRAL]
    for name in given:
        if name not in known:
            near = get_close_matches(name, [*_TENSORS, *known], n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else "omit it"
            raise UnknownArgument(
                f"generate has no argument {name}; allowed: {', '.join(sorted(known))}",
                hint=_INSTEAD.get(name, hint),
            )
        if _NEUTRAL.get(name) and given[name] not in _NEUTRAL[name]:
            _not_here(name, given[name])
    values = {**_DEFAULTS, **{name: given[name] for name in _SETTINGS if name in given}}
    for name in _LISTS:
        if isinstance(values.get(name), int):
            values[name] = [values[name]]
    if isinstance(values.get("sequence_bias"), list):
        values["sequence_bias"] = _pairs(values["sequence_bias"])
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
    for name in _OUTPUTS[1:]:
        if given.get(name) and not as_dict:
            tell("setting-without-effect", setting=name, reason="return_dict_in_generate is off")
    return Arguments(
        settings=GenerationSettings(max_new_tokens=most, min_new_tokens=least, **values),
        stop_strings=[strings] if isinstance(strings, str) else list(strings),
        as_dict=as_dict,
        output_scores=as_dict and bool(given.get("output_scores", False)),
        output_logits=as_dict and bool(given.get("output_logits", False)),
    )


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
