"""Weight names: Hugging Face's, with and without prefix, and what old files hold besides."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PREFIX = "transformer"
"""Of the transformer's weights in a model with a head."""

_NOT_WEIGHTS = re.compile(r"(^|\.)(position_ids|h\.\d+\.attn\.(bias|masked_bias|b))$")
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
