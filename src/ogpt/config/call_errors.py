"""What a model refuses to compute: the errors of a call, with the same text in every framework."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from ogpt.errors import ConfigError, ContextTooLong, OgptError, TokenOutOfRange, UnknownArgument

SAME_TOKENIZER = "check that tokenizer and model belong together, and the length of the input"
TOKENS_AS_LABELS = "use token ids of this tokenizer's vocabulary as labels; -100 is ignored"
ONE_LABEL_PER_TOKEN = "pass one label for each token, -100 to ignore a token"
ONE_VALUE_PER_TOKEN = "pass one for each token"

HIDDEN_SCORE = -1000.0
"""An additive mask hides a key by adding this or a lower number to its score."""

REFUSALS: dict[str, tuple[str, str]] = {
    "not-one-input": (
        "{given} of input_ids and inputs_embeds were passed; allowed: exactly one",
        "pass token ids as input_ids, or their embeddings as inputs_embeds",
    ),
    "no-tokens": (
        "the input has the shape {shape}; allowed: (B, T), one token or more",
        "start an empty text with a start token or a prompt",
    ),
    "too-long": (
        "the input has {tokens} tokens; the model's context length is {n_positions}",
        "shorten the input, or split it into windows",
    ),
    "embeddings-width": (
        "inputs_embeds have the shape {shape}; allowed: (B, T, {n_embd})",
        "pass one embedding of n_embd numbers for each token",
    ),
    "not-integers": (
        "{name} are of {dtype}; allowed: integers, such as {example}",
        "pass ids as a tokenizer returns them; pass embeddings as inputs_embeds",
    ),
    "no-embedding": ("{what} {value} was passed; allowed: 0 to {last}", "{hint}"),
    "other-shape": ("{name} has the shape {shape}; allowed: {allowed}", "{hint}"),
    "mask-shape": (
        "attention_mask has the shape {shape}; allowed: {two}, {three} or {four}",
        "pass one value for each token, including those in the cache",
    ),
    "mask-value": (
        "attention_mask holds {odd}; allowed: 1 for visible tokens, 0 for hidden ones",
        "convert an additive mask with `mask == 0`",
    ),
    "mask-bias": (
        "attention_mask adds {odd} to a score; allowed: 0 for visible tokens, {hidden} or less for "
        "hidden ones",
        "pass True and False: GPT-1 has no biases of attention scores",
    ),
    "head-mask-shape": (
        "head_mask has the shape {shape}; allowed: {one} or {all}",
        "pass one number for each head, including the pruned ones",
    ),
    "class-shape": (
        "{name} have the shape {shape}; allowed: {allowed}",
        "pass one label for each example",
    ),
    "no-class": (
        "{name} holds {value}; allowed: 0 to {last}, or {ignored} to ignore one",
        "check the number of labels or choices",
    ),
    "label-shape": (
        "labels have the shape {shape}; allowed for {problem}: {allowed}",
        "pass a number for each label of each example",
    ),
    "position-shape": (
        "{name} has the shape {shape}; allowed: {allowed}",
        "pass one position for each choice",
    ),
    "no-position": (
        "{name} holds {value}; allowed: 0 to {last}",
        "count positions from the left, padding included",
    ),
    "no-choices": (
        "mc_labels were passed with an input of the shape {shape}; allowed: (B, K, T)",
        "pass a sequence for each choice",
    ),
    "no-scores": (
        "mc_labels were passed and mc_logits have the shape {shape}; allowed: {allowed}, one "
        "score for each choice",
        "set summary_use_proj and summary_proj_to_labels to True",
    ),
}
"""Message and hint of each refusal."""

_KINDS: dict[str, type[OgptError]] = {"too-long": ContextTooLong, "no-embedding": TokenOutOfRange}

_RENAMED = {"lm_labels": "labels", "past": "past_key_values"}  # by transformers, in 2020


def refused(what: str, /, **fields: Any) -> OgptError:
    """The error for a call that cannot be computed.

    Args:
        what: One of REFUSALS.
        **fields: What its message and hint mention; sizes of axes as a tuple.
    """
    message, hint = REFUSALS[what]
    kind = _KINDS.get(what, ConfigError)
    return kind(message.format(**fields), hint=hint.format(**fields))


def unknown_argument(
    unknown: Sequence[str], known: Sequence[str], function: str
) -> UnknownArgument:
    """The error for arguments that a model does not have.

    Args:
        unknown: Their names.
        known: The arguments that there are.
        function: The function that has them.
    """
    near = [_RENAMED[name] for name in unknown[:1] if _RENAMED.get(name) in known]
    near = near or get_close_matches(unknown[0], known, 1, 0.5)
    return UnknownArgument(
        f"there is no argument {', '.join(unknown)}; allowed: {', '.join(known)}",
        hint=f"did you mean {near[0]}?" if near else f"see the arguments of {function}",
    )
