"""The arguments of transformers' `generate` become settings of ours.

The defaults are transformers', where they differ from those of `ogpt.generate`: no sampling, and
the 50 most likely tokens where there is sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from ogpt.errors import SamplingError, UnknownArgument
from ogpt.generation.settings import GenerationSettings
from ogpt.notices import tell

DEFAULT_LENGTH = 20
"""Tokens where no length is asked for: new ones, or with the prompt (`Parity.length`)."""

_DEFAULTS: dict[str, Any] = {"do_sample": False, "top_k": 50}
_LENGTHS = ("max_length", "max_new_tokens", "min_length", "min_new_tokens")
_LISTS = ("eos_token_id", "forced_eos_token_id")  # a number or a list of them
_SETTINGS = tuple(item.name for item in fields(GenerationSettings) if item.name not in _LENGTHS)
_OUTPUTS = ("return_dict_in_generate", "output_scores", "output_logits")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    # what is always so here, or is of no concern to a GPT-1; and the values that ask for that
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
    "trust_remote_code": (),
}


@dataclass(frozen=True)
class Arguments:
    """What a call of `generate` asks for."""

    settings: GenerationSettings
    stop_strings: list[str]
    as_dict: bool
    """Return more than the sequences."""
    output_scores: bool
    output_logits: bool


def read_arguments(given: Mapping[str, Any], width: int, length: str = "new") -> Arguments:
    """Settings from arguments by transformers' names; None is an argument that is not given.

    Args:
        given: The call's, over those of a generation configuration.
        width: Tokens of the prompt, padding included: max_length and min_length count them.
        length: What 20 tokens mean where no length is given, `Parity.length`.

    Raises:
        UnknownArgument: a name that `generate` has not.
        SamplingError: a value outside its range, or something that ogpt does not do.
    """
    given = {name: value for name, value in given.items() if value is not None}
    known = [*_LENGTHS, *_SETTINGS, *_OUTPUTS, "stop_strings", *_NEUTRAL]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.6)
            raise UnknownArgument(
                f"generate has no argument {name}; allowed: {', '.join(sorted(known))}",
                hint=f"did you mean {near[0]}?" if near else "leave it out",
            )
        if _NEUTRAL.get(name) and given[name] not in _NEUTRAL[name]:
            _not_here(name, given[name])
    values = {**_DEFAULTS, **{name: given[name] for name in _SETTINGS if name in given}}
    for name in _LISTS:
        if isinstance(values.get(name), int):
            values[name] = [values[name]]
    if not values["do_sample"] and not values.get("penalty_alpha") and "top_k" not in given:
        del values["top_k"]
    most, least = _lengths(given, width, length)
    strings = given.get("stop_strings", [])
    return Arguments(
        settings=GenerationSettings(max_new_tokens=most, min_new_tokens=least, **values),
        stop_strings=[strings] if isinstance(strings, str) else list(strings),
        as_dict=bool(given.get("return_dict_in_generate", False)),
        output_scores=bool(given.get("output_scores", False)),
        output_logits=bool(given.get("output_logits", False)),
    )


def _lengths(given: Mapping[str, Any], width: int, length: str) -> tuple[int, int]:
    """max_new_tokens and min_new_tokens."""
    if "max_new_tokens" in given:
        most = given["max_new_tokens"]
        if "max_length" in given:
            tell("setting-without-effect", setting="max_length", reason="max_new_tokens is given")
    elif "max_length" in given or length == "total":
        total = given.get("max_length", DEFAULT_LENGTH)
        if total <= width:
            raise SamplingError(
                f"max_length is {total}; allowed: more than the {width} tokens of the prompt",
                hint="max_length counts the prompt; max_new_tokens does not",
            )
        most = total - width
    else:
        most = DEFAULT_LENGTH
    least = max(given.get("min_new_tokens", 0), given.get("min_length", 0) - width)
    return most, min(least, most) if "min_new_tokens" not in given else least


def _not_here(name: str, value: Any) -> None:
    """Give notice of what makes no difference here; refuse what would.

    Raises:
        SamplingError: the argument asks for what ogpt does not do.
    """
    if name in ("use_cache", "cache_implementation", "low_memory"):
        tell(
            "setting-without-effect",
            setting=name,
            reason="keys and values are always kept, in memory set aside once",
        )
        return
    raise SamplingError(
        f"{name} is {value!r}; allowed: {_NEUTRAL[name][0]!r}, as ogpt has no such search",
        hint="leave it out",
    )
