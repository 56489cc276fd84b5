"""Weight names: Hugging Face's, with and without prefix, and what old files hold besides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

PREFIX = "transformer"
"""Of the transformer's weights in a model with a head."""

_NOT_WEIGHTS = re.compile(r"(^|\.)(position_ids|h\.\d+\.attn\.bias|h\.\d+\.attn\.masked_bias)$")
_HEADS = ("lm_head.", "multiple_choice_head.", "score.")
_TIED = {"tokens_embed.weight": "lm_head.weight", "lm_head.weight": "tokens_embed.weight"}
_ENDS = {  # TensorFlow's names, then those of OpenAI and of pytorch-pretrained-bert (2018)
    "gamma": "weight",
    "beta": "bias",
    "g": "weight",
    "w": "weight",
    "b": "bias",
}


def stored_names(stored: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Say under which name a file holds each weight that a model wants.

    Names agree across the prefix `transformer.`, in both directions, and across the older endings
    gamma, beta, g, w and b. A name that is stored as it is wanted goes before one that merely
    agrees. Where only one of token embedding and tied head is stored, it stands in for the other:
    double-heads files of transformers 5 lack the embedding, most others the head.

    Args:
        stored: Names in the file; buffers of old files (`attn.bias`, `position_ids`) never count.
        wanted: Names in the model.

    Returns:
        Wanted name -> stored name, in the order of `wanted`. What is wanted and not among the keys
        is new; what no wanted name took, `unused_names` tells.
    """
    weights = {name for name in stored if not _NOT_WEIGHTS.search(name)}
    found: dict[str, str] = {}
    by_meaning = {_meaning(name): name for name in sorted(weights)}
    for name in wanted:
        meaning = _meaning(name)
        home = name if name in weights else by_meaning.get(meaning)
        if home is None and meaning in _TIED:
            home = by_meaning.get(_TIED[meaning])
        if home is not None:
            found[name] = home
    return found


def unused_names(stored: Iterable[str], found: Mapping[str, str]) -> list[str]:
    """Names of stored weights, not of buffers, that `stored_names` found no use for, sorted."""
    used = set(found.values())
    return sorted(name for name in stored if name not in used and not _NOT_WEIGHTS.search(name))


def _meaning(name: str) -> str:
    """The name that all spellings of one weight share."""
    path, _, end = name.removeprefix(PREFIX + ".").rpartition(".")
    return f"{path}.{_ENDS.get(end, end)}"


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
