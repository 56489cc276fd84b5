"""Settings that have no effect with others, and the notice of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.notices import tell


def tell_without_effect(
    settings: GenerationSettings, prompts: Sequence[Sequence[int]] = ()
) -> None:
    """Give notice of each setting that has no effect with the others.

    Args:
        settings: Of the request.
        prompts: The ids of each, if they are known.
    """
    sampling = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "typical_p": 1, "seed": 0}
    sampling |= {"epsilon_cutoff": 0, "eta_cutoff": 0}
    if settings.penalty_alpha:
        del sampling["top_k"]
    beams = {"length_penalty": 1, "early_stopping": False}
    decay: dict[str, Any] = {"exponential_decay_length_penalty": None}
    reasons: list[tuple[bool, Mapping[str, Any], str]] = [
        (not settings.do_sample, sampling, "sampling is disabled"),
        (settings.num_beams == 1, beams, "there are no beams (num_beams=1)"),
        (
            settings.num_beam_groups == 1,
            {"diversity_penalty": 0},
            "all beams are in one group (num_beam_groups=1)",
        ),
        (not settings.eos_token_id, decay, "no token ends the text (eos_token_id)"),
        (settings.surface == "raw", {"keep_lower": False}, "raw text has no capitals"),
    ]
    for without_effect, neutral, reason in reasons:
        for name, value in neutral.items():
            if without_effect and getattr(settings, name) != value:
                tell("setting-without-effect", setting=name, reason=reason)
    alone = settings.num_beams == 1 and not settings.penalty_alpha
    if settings.prompt_lookup_num_tokens and not alone:
        tell(
            "setting-without-effect",
            setting="prompt_lookup_num_tokens",
            reason="beam search and contrastive search do not use prompt lookup",
        )
    longer = prompts and all(len(ids) != 1 for ids in prompts)
    if settings.forced_bos_token_id is not None and longer:
        tell(
            "setting-without-effect",
            setting="forced_bos_token_id",
            reason="no prompt has exactly one token",
        )
