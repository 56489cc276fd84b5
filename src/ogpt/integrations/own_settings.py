"""ogpt's own settings of generate(), such as frequency_penalty, in transformers' generate()."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.generation import logits_process as theirs

from ogpt.generation.choosing.rules import Rule, apply, rules
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.notices import tell

_RULES = ("frequency_penalty", "presence_penalty", "allowed_token_ids")
OWN_SETTINGS = (*_RULES, "seed")
"""Settings that transformers lacks; its configuration keeps those of generation_config.json."""
_EARLIER = (
    theirs.UnbatchedClassifierFreeGuidanceLogitsProcessor,
    theirs.SequenceBiasLogitsProcessor,
    theirs.EncoderRepetitionPenaltyLogitsProcessor,
    theirs.RepetitionPenaltyLogitsProcessor,
)
"""What stands before the own settings in the order of `rules`."""


class OwnRules(theirs.LogitsProcessor):
    """Rules of ogpt as a logits processor of transformers.

    Args:
        found: The rules.
        n_prompt: Number of tokens of the prompt, with padding.
    """

    def __init__(self, found: Sequence[Rule], n_prompt: int) -> None:
        self.found, self.n_prompt = found, n_prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores (B, V) after the rules; input_ids (B, T), with the prompt."""
        rows = zip(input_ids.tolist(), scores.float().cpu().numpy(), strict=True)
        ruled = [apply(self.found, ids, self.n_prompt, row) for ids, row in rows]
        return torch.from_numpy(np.stack(ruled)).to(scores)


def add_own_settings(processors: list[Any], asked: Any, n_prompt: int, vocab_size: int) -> None:
    """Insert what the own settings ask for into the logits processors of a call.

    Args:
        processors: In transformers' order; changed.
        asked: The generation configuration of the call.
        n_prompt: Number of tokens of the prompt, with padding.
        vocab_size: V of the model.

    Raises:
        SamplingError: a setting outside its range.
        TokenOutOfRange: an allowed token id outside the vocabulary.
    """
    given = {name: getattr(asked, name, None) for name in OWN_SETTINGS}
    if asked.do_sample and given["seed"] is not None:
        reason = "transformers' generate() draws torch's random numbers; use torch.manual_seed"
        tell("setting-without-effect", setting="seed", reason=reason)
    settings: dict[str, Any] = {name: given[name] for name in _RULES if given[name] is not None}
    found = rules(GenerationSettings(**settings), vocab_size)
    if found:
        earlier = [place for place, one in enumerate(processors) if isinstance(one, _EARLIER)]
        processors.insert(max(earlier, default=-1) + 1, OwnRules(found, n_prompt))
