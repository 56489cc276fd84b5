"""Normalize and validate the fields of a model configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from ogpt.config.parity import as_parity
from ogpt.errors import ConfigError

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu", "swish")
"""Values of `afn`. GPT-1's gelu is the tanh approximation, so gelu and gelu_new are the same."""

SUMMARY_TYPES = ("last", "first", "mean", "cls_index")
"""Values of `summary_type`: the token whose hidden state represents the sequence."""

SUMMARY_ACTIVATIONS = (*ACTIVATIONS, "tanh", "sigmoid")
"""Values of `summary_activation`."""

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
"""Values of `problem_type`."""

DTYPES = ("float32", "float16", "bfloat16", "float64")
"""Values of `dtype`."""

LARGEST = 2**31 - 1
"""Upper bound of model sizes and token ids: the native core uses 32-bit integers."""

MOST_LABELS = 1_000_000
"""Upper bound of num_labels. Every label has a name in memory, so a damaged file could fill it."""

COUNTS = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
RATES = ("resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout", "summary_last_dropout")
SWITCHES = (
    "summary_use_proj",
    "summary_proj_to_labels",
    "tie_word_embeddings",
    "classifier_bias",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "torchscript",
)
TEXTS = ("prefix", "tokenizer_class", "transformers_version")
TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


def kept_form(name: str, value: Any) -> Any:
    """Normalize a value to the type that the field stores; check_fields judges it later.

    JSON makes dictionary keys strings, and callers pass numpy numbers or a torch.dtype.

    Args:
        name: The field.
        value: Any value. One that cannot be normalized is returned unchanged.

    Raises:
        ConfigError: an unknown parity.
    """
    if name == "parity":
        return as_parity(value)
    if name == "name_or_path":
        return str(value)
    if name == "dtype" and value is not None:
        return str(value).removeprefix("torch.")  # a torch.dtype, without importing torch
    if name in ("id2label", "pruned_heads") and isinstance(value, Mapping):
        return {_whole(key): item for key, item in value.items()}
    if name == "label2id" and isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    if name == "eos_token_id" and isinstance(value, tuple):
        return list(value)
    if name in COUNTS + TOKEN_IDS and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)  # a numpy integer is not JSON
    if name in (*RATES, "layer_norm_epsilon", "initializer_range") and _is_number(value):
        return _as_float(value)  # transformers 5 refuses to load an integer here
    return value


def check_fields(values: Mapping[str, Any]) -> None:
    """Validate all fields of a configuration, normalized by kept_form.

    Raises:
        ConfigError: an invalid value. The message has the field, the value and the allowed values.
    """
    for name in COUNTS:
        if type(values[name]) is not int or values[name] < 1:
            raise bad(name, values[name], "an integer, 1 or more")
        if values[name] > LARGEST:
            raise bad(name, values[name], f"at most {LARGEST}")
    if values["n_embd"] % values["n_head"] != 0:
        raise bad("n_embd", values["n_embd"], f"a multiple of n_head ({values['n_head']})")
    for name in RATES:
        if not _is_number(values[name]) or not 0 <= values[name] < 1:
            raise bad(name, values[name], "a number, 0 to below 1")
    for name in SWITCHES:
        if type(values[name]) is not bool:
            raise bad(name, values[name], "true, false")
    for name in TEXTS:
        if not isinstance(values[name], str | None):
            raise bad(name, values[name], "a string, or null")
    epsilon, spread = values["layer_norm_epsilon"], values["initializer_range"]
    if not _is_number(epsilon) or not 0 < epsilon < math.inf:
        raise bad("layer_norm_epsilon", epsilon, "a number above 0")
    if not _is_number(spread) or not 0 <= spread < math.inf:
        raise bad("initializer_range", spread, "a number, 0 or more")
    _check_names(values)
    _check_token_ids(values)
    _check_pruned_heads(values["pruned_heads"], values["n_layer"], values["n_head"])
    labels(None, values["id2label"], values["label2id"])


def labels(
    num_labels: int | None, id2label: Any, label2id: Any
) -> tuple[dict[int, str], dict[str, int]]:
    """Complete id2label and label2id from any of the three arguments.

    Args:
        num_labels: Number of labels, 1 or more; they are named LABEL_0, LABEL_1, .... If all three
            arguments are None, there are 2.
        id2label: Names by id, from 0 without gaps. It has priority over the other two.
        label2id: Ids by name, the inverse of id2label.

    Returns:
        id2label and label2id.

    Raises:
        ConfigError: an invalid value, or two that contradict each other.
    """
    if num_labels is not None and (type(num_labels) is not int or num_labels < 1):
        raise bad("num_labels", num_labels, "an integer, 1 or more")
    if num_labels is not None and num_labels > MOST_LABELS:
        raise bad("num_labels", num_labels, f"at most {MOST_LABELS}")
    if label2id is not None:
        label2id = kept_form("label2id", label2id)
        if not isinstance(label2id, dict) or not _counts_up(label2id.values()):
            raise bad("label2id", label2id, "ids 0, 1, 2, ... by label, each once")
        if id2label is None:
            id2label = {index: label for label, index in label2id.items()}
    if id2label is None:
        id2label = {index: f"LABEL_{index}" for index in range(num_labels or 2)}
    id2label = kept_form("id2label", id2label)
    if (
        not isinstance(id2label, dict)
        or not _counts_up(id2label)
        or not all(isinstance(label, str) for label in id2label.values())
    ):
        raise bad(
            "id2label",
            id2label,
            "labels, as strings, by the ids 0, 1, 2, ...",
            hint="convert a list of names: id2label=dict(enumerate(names))",
        )
    id2label = dict(sorted(id2label.items()))
    inverse = {label: index for index, label in id2label.items()}
    if len(inverse) < len(id2label):
        raise bad(
            "id2label", id2label, "each label once", hint="use a different label for every id"
        )
    if num_labels not in (None, len(id2label)):
        raise bad(
            "num_labels",
            num_labels,
            f"{len(id2label)}, the labels in id2label",
            hint="omit num_labels: id2label determines it",
        )
    if label2id not in (None, inverse):
        raise bad(
            "label2id",
            label2id,
            f"{inverse}, the inverse of id2label",
            hint="omit label2id: id2label determines it",
        )
    return id2label, inverse


def from_first(pruned: Any, n_layer: int, n_head: int) -> Any:
    """Layers and heads by their numbers from 0; transformers stores -1 for the last as it is.

    Args:
        pruned: {layer: [heads]}; anything else is returned as it is.
        n_layer: Number of layers.
        n_head: Number of heads of a layer.
    """

    def place(number: Any, count: int) -> Any:
        return number + count if type(number) is int and -count <= number < 0 else number

    if not isinstance(pruned, Mapping) or not all(isinstance(h, list) for h in pruned.values()):
        return pruned
    found: dict[Any, list[Any]] = {}
    for layer, heads in pruned.items():
        found.setdefault(place(layer, n_layer), []).extend(place(head, n_head) for head in heads)
    return found


def bad(name: str, seen: object, allowed: str, hint: str = "") -> ConfigError:
    """Make the error for an invalid value of a field."""
    return ConfigError(
        f"{name} is {seen!r}; allowed: {allowed}", hint=hint or f"set {name} in the configuration"
    )


def _check_names(values: Mapping[str, Any]) -> None:
    """Validate the fields that are one of a few names, or a list of names."""
    if callable(values["afn"]):
        raise bad(
            "afn",
            values["afn"],
            ", ".join(ACTIVATIONS),
            hint="pass the name of the activation: config.json cannot store a function",
        )
    if values["summary_type"] == "attn":
        raise bad(
            "summary_type",
            "attn",
            ", ".join(SUMMARY_TYPES),
            hint="use cls_index, as GPT-1 does: no implementation has attention pooling",
        )
    for name, allowed, optional in (
        ("afn", ACTIVATIONS, False),
        ("summary_type", SUMMARY_TYPES, False),
        ("summary_activation", SUMMARY_ACTIVATIONS, True),
        ("problem_type", PROBLEM_TYPES, True),
        ("dtype", DTYPES, True),
    ):
        value = values[name]
        if value not in allowed and not (optional and value is None):
            raise bad(name, value, ", ".join(allowed) + (", or null" if optional else ""))
    architectures = values["architectures"]
    if architectures is not None and not (
        isinstance(architectures, list) and all(isinstance(item, str) for item in architectures)
    ):
        raise bad("architectures", architectures, "a list of class names, or null")
    if not isinstance(values["task_specific_params"], dict | None):
        raise bad(
            "task_specific_params", values["task_specific_params"], "settings by task, or null"
        )


def _check_token_ids(values: Mapping[str, Any]) -> None:
    for name in TOKEN_IDS:
        value = values[name]
        several = name == "eos_token_id" and isinstance(value, list)
        for token_id in value if several else [value]:
            if (several or value is not None) and not _is_index(token_id, LARGEST + 1):
                plain = "a token id, a list of them, or null"
                raise bad(name, value, plain if name == "eos_token_id" else "a token id, or null")


def _check_pruned_heads(pruned: Any, n_layer: int, n_head: int) -> None:
    if not isinstance(pruned, dict) or not all(
        _is_index(layer, n_layer)
        and isinstance(heads, list)
        and all(_is_index(head, n_head) for head in heads)
        and len(set(heads)) == len(heads)
        for layer, heads in pruned.items()
    ):
        raise bad(
            "pruned_heads",
            pruned,
            f"lists of heads, 0 to {n_head - 1}, each once, by layer, 0 to {n_layer - 1}",
        )


def _whole(value: Any) -> Any:
    """Convert a numpy integer, or the decimal string that JSON made of a key, to int."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    decimal = isinstance(value, str) and value.removeprefix("-").isdecimal()
    return int(value) if decimal else value


def _as_float(value: Any) -> float:
    """Convert to float; an integer beyond its range becomes infinite and is refused later."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _counts_up(ids: Iterable[Any]) -> bool:
    """Return whether the ids are 0, 1, 2, ... in any order, and there is at least one."""
    found = list(ids)
    return all(map(_is_index, found)) and sorted(found) == list(range(len(found))) != []


def _is_index(value: Any, size: float = math.inf) -> bool:
    return type(value) is int and 0 <= value < size


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
