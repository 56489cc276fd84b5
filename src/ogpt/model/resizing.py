"""Models change their size: rows of the embeddings come and go."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError


def resized(weight: Tensor, rows: int, std: float | None = None) -> nn.Parameter:
    """The first `rows` rows of a weight (V, C); those that it has not are made.

    Args:
        weight: (V, C).
        rows: 1 or more.
        std: New rows are drawn from N(0, std); None: they are the mean of the old ones, so that
            no new token is likelier than a common one.
    """
    with torch.no_grad():
        count = max(0, rows - len(weight))
        if std is None:
            new = weight.mean(0, keepdim=True).expand(count, -1)
        else:
            new = weight.new_empty(count, weight.shape[1]).normal_(0.0, std)
        return nn.Parameter(torch.cat([weight[:rows], new]), weight.requires_grad)


def padded(rows: int, multiple: int | None) -> int:
    """`rows`, rounded up to a multiple.

    Raises:
        ConfigError: a multiple below 1.
    """
    if multiple is None:
        return rows
    if type(multiple) is not int or multiple < 1:
        raise ConfigError(
            f"pad_to_multiple_of is {multiple!r}; allowed: a whole number, 1 or more",
            hint="64 suits most GPUs",
        )
    return -(-rows // multiple) * multiple


def changed(config: OpenAIGPTConfig, **values: object) -> OpenAIGPTConfig:
    """A checked copy with other values: another model built from the old one is not changed."""
    copy = type(config).from_dict(config.to_dict())
    for name, value in values.items():
        setattr(copy, name, value)
    copy.check()
    return copy


def check_heads(config: OpenAIGPTConfig, heads: dict[int, list[int]]) -> dict[int, list[int]]:
    """Pruned heads by layer: those of the configuration and those given.

    Raises:
        ConfigError: a layer or head that is not there, or a layer that would have none left.
    """
    pruned = {layer: set(gone) for layer, gone in config.pruned_heads.items()}
    for layer, gone in heads.items():
        if not 0 <= layer < config.n_layer or not set(gone) <= set(range(config.n_head)):
            raise ConfigError(
                f"heads {sorted(gone)} of layer {layer} were to be pruned; allowed: layers 0 to "
                f"{config.n_layer - 1}, heads 0 to {config.n_head - 1}",
                hint="give {layer: [heads]}",
            )
        pruned.setdefault(layer, set()).update(gone)
        if len(pruned[layer]) == config.n_head:
            raise ConfigError(
                f"all {config.n_head} heads of layer {layer} were to be pruned; at least one must "
                "stay",
                hint="prune fewer heads",
            )
    return {layer: sorted(gone) for layer, gone in sorted(pruned.items()) if gone}
