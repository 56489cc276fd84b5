"""Parity: where implementations of GPT-1 differ, and which one to follow."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from ogpt.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """One choice for each difference between implementations; the defaults are ogpt's own.

    "2018" is OpenAI's finetune-transformer-lm. 4 and 5 are major versions of transformers (as of
    4.57.6 and 5.23.0). "4-tf" is the TensorFlow code of transformers 4.

    Args:
        masking: How attention hides a key from a query.

            - "boolean" (ogpt): exclude the key from the softmax, in every dtype.
            - "transformers" (4, 5): set the scores of later keys to -1e4; add the lowest number of
              the dtype for padding.
            - "tensorflow" (4-tf): set the scores of later keys to -1e4; add -1e4 for padding.
            - "2018": set the scores of later keys to -1e9. There is no padding mask: padding only
              counts in the loss (train.py, mask_attn_weights).
        gelu: Meaning of afn "gelu".

            - "tanh" (ogpt, 2018, 4, 5): the tanh approximation, with which GPT-1 was trained.
            - "erf" (4-tf, since September 2020): the exact function.
        positions: When positions are counted from the attention mask, so that left padding does
            not shift the text. Otherwise they are 0, 1, 2, ... including padding.

            - "mask" (ogpt): whenever a mask is passed. Without one, position_ids that restart at 0
              separate the texts of a packed row.
            - "generate" (5): only in generate().
            - "never" (2018, 4, 4-tf): only if the caller passes position_ids.
        length: Default length of generate(), 20 tokens.

            - "new" (ogpt, 4, 5): 20 tokens after the prompt.
            - "total" (4-tf): 20 tokens including the prompt.
        arguments: What a model does with an unknown argument.

            - "refuse" (ogpt, 4): raise an error that names it.
            - "ignore" (5): nothing, so that a misspelled argument goes unnoticed.

    Raises:
        ConfigError: a value outside these choices.

    >>> from ogpt.config.parity import as_parity
    >>> as_parity("transformers-5").positions
    'generate'
    >>> as_parity({"gelu": "erf"}).masking
    'boolean'
    """

    masking: Literal["boolean", "transformers", "tensorflow", "2018"] = "boolean"
    gelu: Literal["tanh", "erf"] = "tanh"
    positions: Literal["mask", "generate", "never"] = "mask"
    length: Literal["new", "total"] = "new"
    arguments: Literal["refuse", "ignore"] = "refuse"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value, allowed = getattr(self, item.name), get_args(hints[item.name])
            if value not in allowed:
                raise ConfigError(
                    f"parity.{item.name} is {value!r}; allowed: {', '.join(allowed)}",
                    hint=f"omit {item.name} for ogpt's default, {item.default!r}",
                )

    def to_dict(self) -> dict[str, str]:
        """Return the choices by name, as config.json stores them."""
        return asdict(self)


PARITY: dict[str, Parity] = {
    "ogpt": Parity(),
    "2018": Parity(masking="2018", positions="never"),
    "transformers-4": Parity(masking="transformers", positions="never"),
    "transformers-4-tf": Parity(
        masking="tensorflow", gelu="erf", positions="never", length="total"
    ),
    "transformers-5": Parity(masking="transformers", positions="generate", arguments="ignore"),
}
"""The choices of each implementation, by name."""


def as_parity(value: str | Mapping[str, Any] | Parity | None) -> Parity:
    """Make a Parity from a name of PARITY, a dictionary of choices, or None for ogpt's defaults.

    Raises:
        ConfigError: an unknown name, choice or value.
    """
    if value is None:
        return Parity()
    if isinstance(value, Parity):
        return value
    if isinstance(value, str) and value in PARITY:
        return PARITY[value]
    if not isinstance(value, Mapping):
        near = difflib.get_close_matches(str(value), PARITY, 1)
        raise ConfigError(
            f"parity is {value!r}; allowed: {', '.join(PARITY)}, or a dictionary of choices",
            hint=f"did you mean {near[0]}?" if near else "pass for example parity='transformers-4'",
        )
    known = [item.name for item in fields(Parity)]
    for name in value:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            raise ConfigError(
                f"parity has no choice {name!r}; allowed: {', '.join(known)}",
                hint=f"did you mean {near[0]}?" if near else "see ogpt.config.parity.Parity",
            )
    return Parity(**value)
