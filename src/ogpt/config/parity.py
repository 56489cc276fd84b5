"""Parity: what the implementations of GPT-1 disagree about, and whose way to go."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from ogpt.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """One choice for each thing that implementations do differently; ogpt's own is the default.

    "2018" is OpenAI's finetune-transformer-lm; 4 and 5 are major versions of transformers (read at
    4.57.6 and 5.23.0); "4-tf" is the TensorFlow code of transformers 4.

    Args:
        masking: What hides a key from a query.

            - "boolean" (ogpt): the key is left out of the softmax, in every dtype.
            - "transformers" (4, 5): later keys score -1e4; padding adds the dtype's lowest number.
            - "tensorflow" (4-tf): later keys score -1e4; padding adds -1e4.
            - "2018": later keys score -1e9; there is no padding mask, only the loss knows padding.
        gelu: What afn "gelu" is.

            - "tanh" (ogpt, 2018, 4, 5): the tanh approximation, with which GPT-1 was trained.
            - "erf" (4-tf, since September 2020): the exact function.
        positions: When positions are counted from the attention mask, so that left padding does
            not move the text; otherwise they are 0, 1, 2, ... with the padding counted.

            - "mask" (ogpt): whenever a mask is given.
            - "generate" (5): in generate() only.
            - "never" (2018, 4, 4-tf): only the caller's own position_ids do it.
        length: What 20 tokens mean where generate() is given no length.

            - "new" (ogpt, 4, 5): 20 after the prompt.
            - "total" (4-tf): 20 with the prompt.
        arguments: What a model does with an argument that it does not know.

            - "refuse" (ogpt, 4): an error that names it.
            - "ignore" (5): nothing, so that a misspelt one goes unseen.

    Raises:
        ConfigError: a value that is not in the list.

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
                    hint=f"leave {item.name} out for ogpt's own way, {item.default!r}",
                )

    def to_dict(self) -> dict[str, str]:
        """Each choice by name, as config.json keeps them."""
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
"""The implementations by name."""


def as_parity(value: str | Mapping[str, Any] | Parity | None) -> Parity:
    """A Parity from itself, a name of PARITY, a dictionary of choices, or None for ogpt's own.

    Raises:
        ConfigError: a name, choice or value that there is not.
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
            hint=f"did you mean {near[0]}?" if near else "for example parity='transformers-4'",
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
