"""The fields of a model configuration: the form each is kept in, and the values it may have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from ogpt.config.parity import as_parity
from ogpt.errors import ConfigError

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu", "swish")
"""Names for `afn`; GPT-1's gelu is the tanh approximation, so gelu and gelu_new are one."""

SUMMARY_TYPES = ("last", "first", "mean", "cls_index")
"""Names for `summary_type`: the token whose state stands for the sequence."""

SUMMARY_ACTIVATIONS = (*ACTIVATIONS, "tanh", "sigmoid")
"""Names for `summary_activation`."""

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
"""Names for `problem_type`."""

DTYPES = ("float32", "float16", "bfloat16", "float64")
"""Names for `dtype`."""

LARGEST = 2**31 - 1
"""Of the sizes of a model, and of token ids."""

MOST_LABELS = 1_000_000
"""Each has a name in memory."""

COUNTS = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
RATES = ("resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout", "summary_last_dropout")
SWITCHES = (
    "summary_use_proj",
    "summary_proj_to_labels",
    "tie_word_embeddings",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "torchscript",
)
TEXTS = ("prefix", "tokenizer_class", "transformers_version")
TOKEN_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


def kept_form(name: str, value: Any) -> Any:
    """`value` in the form in which the field `name` keeps it; what fits no form stays as it is.

    Raises:
        ConfigError: a parity that there is not.
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
        return int(value)  # of numpy's
    if name in (*RATES, "layer_norm_epsilon", "initializer_range") and _is_number(value):
        return _as_float(value)  # transformers 5 refuses a whole number here
    return value


def check_fields(values: Mapping[str, Any]) -> None:
    """Check the fields of a configuration, in the form in which they are kept.

    Raises:
        ConfigError: naming the field, the value seen and the values allowed.
    """
    for name in COUNTS:
        if type(values[name]) is not int or values[name] < 1:
            raise bad(name, values[name], "a whole number, 1 or more")
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
            raise bad(name, values[name], "a text, or null")
    epsilon, spread = values["layer_norm_epsilon"], values["initializer_range"]
    if not _is_number(epsilon) or not 0 < epsilon < math.inf:
        raise bad("layer_norm_epsilon", epsilon, "a number above 0")
    if not _is_number(spread) or not 0 <= spread < math.inf:
        raise bad("initializer_range", spread, "a number, 0 or more")
    _check_names(values)
    _check_token_ids(values)
    _check_pruned_heads(values["pruned_heads"], values["n_layer"], values["n_head"])
    id2label, _ = labels(None, values["id2label"], values["label2id"])
    if values["problem_type"] == "single_label_classification" and len(id2label) == 1:
        raise bad(
            "problem_type",
            values["problem_type"],
            "regression or multi_label_classification with one label",
            hint="choose among two labels (num_labels=2), or take problem_type='regression'",
        )


def labels(
    num_labels: int | None, id2label: Any, label2id: Any
) -> tuple[dict[int, str], dict[str, int]]:
    """The labels as id2label and label2id, from whichever of the three are given.

    Args:
        num_labels: How many, 1 or more, called LABEL_0, LABEL_1, ...; None and no other: 2.
        id2label: Names by id, 0 and on without a gap; decides alone what there is.
        label2id: Ids by name, the inverse of id2label.

    Raises:
        ConfigError: a value that cannot be, or two that contradict each other.
    """
    if num_labels is not None and (type(num_labels) is not int or num_labels < 1):
        raise bad("num_labels", num_labels, "a whole number, 1 or more")
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
            "labels, as texts, by the ids 0, 1, 2, ...",
            hint="of a list of names: id2label=dict(enumerate(names))",
        )
    id2label = dict(sorted(id2label.items()))
    inverse = {label: index for index, label in id2label.items()}
    if len(inverse) < len(id2label):
        raise bad("id2label", id2label, "each label once", hint="give every id a label of its own")
    if num_labels not in (None, len(id2label)):
        raise bad(
            "num_labels",
            num_labels,
            f"{len(id2label)}, the labels in id2label",
            hint="leave num_labels out: id2label decides it",
        )
    if label2id not in (None, inverse):
        raise bad(
            "label2id",
            label2id,
            f"{inverse}, the inverse of id2label",
            hint="leave label2id out: it follows from id2label",
        )
    return id2label, inverse


def bad(name: str, seen: object, allowed: str, hint: str = "") -> ConfigError:
    """The error for a field with a value that it cannot have."""
    return ConfigError(
        f"{name} is {seen!r}; allowed: {allowed}", hint=hint or f"set {name} in the configuration"
    )


def _check_names(values: Mapping[str, Any]) -> None:
    """The fields whose value is one of a few names, or holds names."""
    if callable(values["afn"]):
        raise bad(
            "afn",
            values["afn"],
            ", ".join(ACTIVATIONS),
            hint="give the activation's name: config.json cannot hold a function",
        )
    if values["summary_type"] == "attn":
        raise bad(
            "summary_type",
            "attn",
            ", ".join(SUMMARY_TYPES),
            hint="attention pooling exists in no implementation; GPT-1 uses cls_index",
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
    """A whole number that JSON or numpy made into something else."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _as_float(value: Any) -> float:
    """A number as Python's float; a whole one beyond its range as infinite, which is refused."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _counts_up(ids: Iterable[Any]) -> bool:
    """Whether ids are 0, 1, 2, ... in some order, and at least one."""
    found = list(ids)
    return all(map(_is_index, found)) and sorted(found) == list(range(len(found))) != []


def _is_index(value: Any, size: float = math.inf) -> bool:
    return type(value) is int and 0 <= value < size


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
