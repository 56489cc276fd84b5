"""Weight names: Hugging Face's, with and without prefix, and what old files hold besides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

PREFIX = "transformer"
"""Of the transformer's weights in a model with a head."""

_NOT_WEIGHTS = re.compile(r"(^|\.)(position_ids|h\.\d+\.attn\.bias|h\.\d+\.attn\.masked_bias)$")
_HEADS = ("lm_head.", "multiple_choice_head.", "score.")


def normalise(arrays: Mapping[str, T], has_prefix: bool, tied: bool = True) -> dict[str, T]:
    """Rename for a model whose transformer has a prefix or not; leave buffers out.

    A file's copy of a tied head goes, too; where it is all there is (double-heads files of
    transformers 5 lack the token embedding), it becomes the embedding.
    """
    found: dict[str, T] = {}
    for name, array in arrays.items():
        if _NOT_WEIGHTS.search(name):
            continue
        bare = name.removeprefix(PREFIX + ".")
        inside = not bare.startswith(_HEADS)
        found[f"{PREFIX}.{bare}" if inside and has_prefix else bare] = array
    if not tied:
        return found
    embedding = f"{PREFIX}.tokens_embed.weight" if has_prefix else "tokens_embed.weight"
    head = found.pop("lm_head.weight", None)
    if head is not None and embedding not in found:
        found[embedding] = head
    return found
