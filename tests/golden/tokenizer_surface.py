"""The public names and arguments of transformers' tokenizers and of BatchEncoding.

`python tokenizer_surface.py FILE` records those of the transformers of the environment. That of
tokenizer_surface_4.57.6.json is described in tokenizer_cases.py.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

TOKENIZERS = (
    *("PreTrainedTokenizerBase", "PreTrainedTokenizer", "PreTrainedTokenizerFast"),
    *("OpenAIGPTTokenizer", "OpenAIGPTTokenizerFast"),
)
SPECIAL = ("__init__", "__call__", "__len__", "__getitem__")

Surface = dict[str, list[list[str]] | None]
"""Per name the argument lists of its classes; None: it is no method."""


def arguments(member: Any) -> list[str] | None:
    """The names of the arguments, without self and cls; None if Python does not know them."""
    try:
        found = inspect.signature(member).parameters.values()
    except (TypeError, ValueError):
        return None
    marks = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [
        marks.get(each.kind, "") + each.name for each in found if each.name not in ("self", "cls")
    ]


def surface(classes: Iterable[type]) -> Surface:
    """The public members of classes; one argument list for each different one."""
    found: Surface = {}
    for kind in classes:
        for name in dir(kind):
            private = name.startswith("_") and name not in SPECIAL
            if private or (hasattr(object, name) and name != "__init__"):
                continue
            member = inspect.getattr_static(kind, name)
            if isinstance(member, property) or not callable(getattr(kind, name)):
                found.setdefault(name, None)
                continue
            names = arguments(getattr(kind, name))
            if names is not None and names not in (found.get(name) or []):
                found[name] = [*(found.get(name) or []), names]
    return found


def of_transformers() -> dict[str, Surface]:
    """The surface of the installed version."""
    import transformers

    classes = [getattr(transformers, name) for name in TOKENIZERS if hasattr(transformers, name)]
    return {
        "tokenizer": surface(classes),
        "batch_encoding": surface([transformers.BatchEncoding]),
    }


if __name__ == "__main__":
    text = json.dumps(of_transformers(), indent=1, sort_keys=True)
    Path(sys.argv[1]).write_text(text + "\n", "utf-8")
