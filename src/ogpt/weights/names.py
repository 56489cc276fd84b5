"""Match weight names across formats: Hugging Face's with and without prefix, and older ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PREFIX = "transformer"
"""Prefix of the transformer's weights in a model with a head."""

# Buffers that old files contain: the causal mask of each attention, the position ids.
_NOT_WEIGHTS = re.compile(r"(^|\.)(position_ids|h\.\d+\.attn\.(bias|masked_bias|b))$")
_TIED = {"tokens_embed.weight": "lm_head.weight", "lm_head.weight": "tokens_embed.weight"}
# Last parts of old names: TensorFlow's, then those of OpenAI and of pytorch-pretrained-bert (2018).
_ENDS = {
    "gamma": "weight",
    "beta": "bias",
    "g": "weight",
    "w": "weight",
    "b": "bias",
}


def stored_names(stored: Iterable[str], wanted: Iterable[str]) -> dict[str, str]:
    """Find the name under which a file stores each weight of a model.

    The prefix `transformer.` may be present or absent on either side, and the endings gamma, beta,
    g, w and b count as weight or bias. An identical name has priority over such a variant. If the
    file has only one of token embedding and tied head, it serves for both: double-heads files of
    transformers 5 lack the embedding, most other files lack the head.

    Args:
        stored: Names in the file; buffers of old files (`attn.bias`, `position_ids`) are ignored.
        wanted: Names in the model.

    Returns:
        Wanted name -> stored name, in the order of `wanted`. A wanted name that is missing here has
        no weights in the file. `unused_names` lists the rest of the file.
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
    """List the stored weights that `stored_names` did not use, sorted; buffers do not count."""
    used = set(found.values())
    return sorted(name for name in stored if name not in used and not _NOT_WEIGHTS.search(name))


def _meaning(name: str) -> str:
    """Return the canonical name that all variants of a weight share."""
    path, _, end = name.removeprefix(PREFIX + ".").rpartition(".")
    return f"{path}.{_ENDS.get(end, end)}"
