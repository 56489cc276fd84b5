"""Log-probabilities of given tokens from hidden states, without logits for all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ogpt.generation.protocol.decoder import Scores

_CHUNK_ELEMENTS = 2**24  # logits held at the same time: 64 MiB in float32


def score_hidden(
    hidden: Tensor,
    head: Callable[[Tensor], Tensor],
    targets: Sequence[int],
    vocab_size: int,
    top: int,
) -> Scores:
    """Compute the log-probability of one target for each hidden state.

    Args:
        hidden: (T, C).
        head: The language-model head, (T, C) -> logits (T, V).
        targets: T ids.
        vocab_size: V.
        top: Number of most probable tokens to report, 0 or more.
    """
    wanted = torch.tensor(targets, device=hidden.device)
    chosen, top_ids, top_log_probs = [], [], []
    chunk = max(1, _CHUNK_ELEMENTS // vocab_size)
    for part, labels in zip(torch.split(hidden, chunk), torch.split(wanted, chunk), strict=True):
        log_probs = torch.log_softmax(head(part).float(), dim=-1)
        chosen.append(log_probs.gather(1, labels[:, None])[:, 0])
        best = log_probs.topk(top)
        top_ids.append(best.indices)
        top_log_probs.append(best.values)
    return Scores(
        torch.cat(chosen).cpu().numpy(),
        torch.cat(top_ids).cpu().numpy(),
        torch.cat(top_log_probs).cpu().numpy(),
    )
