"""Changes to the size of a model, as its configuration records them."""

from __future__ import annotations

from ogpt.config.fields import from_first
from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.errors import ConfigError


def padded(rows: int, multiple: int | None) -> int:
    """`rows` rounded up to a multiple; None: `rows`.

    Raises:
        ConfigError: a multiple below 1.
    """
    if multiple is None:
        return rows
    if type(multiple) is not int or multiple < 1:
        raise ConfigError(
            f"pad_to_multiple_of is {multiple!r}; allowed: an integer, 1 or more",
            hint="use 64 on most GPUs",
        )
    return -(-rows // multiple) * multiple


def changed(config: OpenAIGPTConfig, **values: object) -> OpenAIGPTConfig:
    """A checked copy of a configuration with other values.

    Configurations are mutable and shared between models, so a model changes a copy of its own.
    """
    copy = type(config).from_dict(config.to_dict())
    for name, value in values.items():
        setattr(copy, name, value)
    if copy.vocab_size != config.vocab_size:  # the recorded tokenizer no longer fits
        vars(copy).pop(TOKENIZER_FINGERPRINT, None)
    copy.check()
    return copy


def check_heads(config: OpenAIGPTConfig, heads: dict[int, list[int]]) -> dict[int, list[int]]:
    """The pruned heads of each layer: those in the configuration and `heads`.

    Args:
        config: Of the model before pruning.
        heads: {layer: [heads]} to prune; negative numbers count from the last one.

    Raises:
        ConfigError: a layer or head that does not exist, or no head left in a layer.
    """
    pruned = {layer: set(gone) for layer, gone in config.pruned_heads.items()}
    heads = from_first(heads, config.n_layer, config.n_head)
    for layer, gone in heads.items():
        if not 0 <= layer < config.n_layer or not set(gone) <= set(range(config.n_head)):
            raise ConfigError(
                f"heads {sorted(gone)} of layer {layer} cannot be pruned; allowed: layers 0 to "
                f"{config.n_layer - 1}, heads 0 to {config.n_head - 1}",
                hint="pass {layer: [heads]}",
            )
        pruned.setdefault(layer, set()).update(gone)
        if len(pruned[layer]) == config.n_head:
            raise ConfigError(
                f"all {config.n_head} heads of layer {layer} cannot be pruned; allowed: at most "
                f"{config.n_head - 1}",
                hint="prune fewer heads",
            )
    return {layer: sorted(gone) for layer, gone in sorted(pruned.items()) if gone}
