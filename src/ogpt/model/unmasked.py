"""What an input without attention_mask says about its rows: packed texts, and padding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.tensors import is_readable
from ogpt.notices import tell


def same_text(positions: Tensor) -> Tensor | None:
    """Which tokens of a row are of one text, (N or 1, T, T), bool; None: all of them.

    Collators that pack several texts into a row restart position_ids at 0 for each. A row is
    packed if it starts at 0 and each later position is 0 or one more than the position before.

    Args:
        positions: (N or 1, T), as the caller passed them.
    """
    before, after = positions[:, :-1], positions[:, 1:]
    restarts = after == 0
    packed = (restarts | (after == before + 1)).all(-1) & (positions[:, 0] == 0)
    restarts = restarts & packed[:, None]
    if is_readable(restarts) and not restarts.any():  # fused kernels need no mask then
        return None
    text = F.pad(restarts, (1, 0)).cumsum(-1)
    return text[:, :, None] == text[:, None]


def tell_padding(ids: Tensor | None, config: OpenAIGPTConfig) -> None:
    """Warn of pad tokens at the start of rows, which shift the text and are read as part of it.

    Args:
        ids: (..., T); their values are read on a CPU alone.
        config: Of the model. A pad token that is also the end token may belong to a text.
    """
    pad, ends = config.pad_token_id, config.eos_token_id
    if ids is None or pad is None or pad in (ends if isinstance(ends, list) else [ends]):
        return
    if not is_readable(ids) or not ids[..., 0].eq(pad).any():
        return
    token = ids.ne(pad)
    leading = ~token.cumsum(-1).bool() & token.any(-1, keepdim=True)
    if found := int(leading.sum()):
        tell("padding-read", count=found, pad_token_id=pad)
