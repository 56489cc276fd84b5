"""What an input without attention_mask says about its rows: packed texts, and padding."""

from __future__ import annotations

import numpy as np
from keras import ops

from ogpt.config.model import OpenAIGPTConfig
from ogpt.notices import tell
from ogpt.tf.inputs import readable
from ogpt.tf.tensors import Tensor


def same_text(positions: Tensor) -> Tensor | None:
    """Which tokens of a row are of one text, (N or 1, T, T), bool; None: all of them.

    As in model/unmasked.py: a row is packed if it starts at 0 and each later position is 0 or one
    more than the position before.

    Args:
        positions: (N or 1, T), as the caller passed them.
    """
    before, after = positions[:, :-1], positions[:, 1:]
    restarts = ops.equal(after, 0)
    steps = ops.logical_or(restarts, ops.equal(after, before + 1))
    packed = ops.logical_and(ops.all(steps, axis=-1), ops.equal(positions[:, 0], 0))
    restarts = ops.logical_and(restarts, packed[:, None])
    if readable(restarts) and not bool(ops.any(restarts)):
        return None
    text = ops.cumsum(ops.pad(ops.cast(restarts, "int32"), ((0, 0), (1, 0))), axis=-1)
    return ops.equal(text[:, :, None], text[:, None])


def tell_padding(ids: Tensor | None, config: OpenAIGPTConfig) -> None:
    """Warn of pad tokens at the start of rows, which shift the text and are read as part of it.

    Args:
        ids: (..., T); their values are read in the memory of a CPU alone.
        config: Of the model. A pad token that is also the end token may belong to a text.
    """
    pad, ends = config.pad_token_id, config.eos_token_id
    if ids is None or pad is None or pad in (ends if isinstance(ends, list) else [ends]):
        return
    if not readable(ids):
        return
    token = ids.numpy() != pad
    leading = ~np.logical_or.accumulate(token, axis=-1) & token.any(-1, keepdims=True)
    if found := int(leading.sum()):
        tell("padding-read", count=found, pad_token_id=pad)
