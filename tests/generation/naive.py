"""Slow references: a decoder without a cache, and searches without slots or arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log
from typing import Any

import numpy as np
import torch
import transformers

from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Abilities, Part
from tests.markov import StandInDecoder

LogitsOf = Callable[[tuple[int, ...]], np.ndarray]


def peer(seed: int, **changes: Any) -> Any:
    """A random model of transformers in float64, sharp enough that ties do not occur."""
    draw = np.random.default_rng(seed)
    n_head = int(draw.integers(1, 4))
    options = {
        "vocab_size": int(draw.integers(8, 20)),
        "n_positions": 24,
        "n_embd": 4 * n_head,
        "n_layer": int(draw.integers(1, 3)),
        "n_head": n_head,
        "initializer_range": 0.6,
    }
    torch.manual_seed(seed)
    config = transformers.OpenAIGPTConfig(**{**options, **changes})
    return transformers.OpenAIGPTLMHeadModel(config).double().eval()


class WholeDecoder(StandInDecoder):
    """The Decoder protocol over a model of transformers, without a cache, in float64."""

    def __init__(self, model: Any, slots: int) -> None:
        self.model = model
        self.known: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        config = model.config
        super().__init__(self.logits_after, config.vocab_size, config.n_positions, slots)
        self.abilities = Abilities(True, False, False, False)

    def outputs(self, held: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Logits (V,) and last hidden states (T, C)."""
        if held not in self.known:
            with torch.no_grad():
                hidden = self.model.transformer(torch.tensor([held])).last_hidden_state[0]
                self.known[held] = self.model.lm_head(hidden[-1]).numpy(), hidden.numpy()
        return self.known[held]

    def logits_after(self, held: tuple[int, ...]) -> np.ndarray:
        return self.outputs(held)[0]

    def _hidden(self, parts: Sequence[Part]) -> tuple[np.ndarray, ...]:
        return tuple(self.outputs(tuple(self.held[slot]))[1][-len(ids) :] for slot, ids, _ in parts)

    def _logits(self, slot: int) -> np.ndarray:
        return self.logits_of(tuple(self.held[slot]))


def naive_beams(
    logits_of: LogitsOf, prompt: Sequence[int], asked: GenerationSettings
) -> list[tuple[float, list[int]]]:
    """(Diverse) beam search of one prompt: every continuation of every beam is sorted."""
    size = asked.num_beams // asked.num_beam_groups
    kept = size * max(2, 1 + len(asked.eos_token_id))
    alive = [[(0.0, ())] for _ in range(asked.num_beam_groups)]
    finished: list[list[tuple[float, tuple[int, ...]]]] = [[] for _ in alive]
    over = [False for _ in alive]
    for length in range(1, asked.max_new_tokens + 1):
        taken: list[int] = []
        for group in range(asked.num_beam_groups):
            if over[group]:
                continue
            every = []
            for score, ids in alive[group]:
                logits = logits_of((*prompt, *ids)).tolist()
                normalizer = log(sum(exp(logit) for logit in logits))
                for token, logit in enumerate(logits):
                    penalty = asked.diversity_penalty * taken.count(token)
                    every.append((score + logit - normalizer - penalty, (*ids, token)))
            every.sort(reverse=True)
            going_on = []
            for rank, (score, ids) in enumerate(every[:kept]):
                if ids[-1] not in asked.eos_token_id and length < asked.max_new_tokens:
                    going_on.append((score, ids))
                elif rank < size:
                    finished[group].append((score / length**asked.length_penalty, ids))
            alive[group] = going_on[:size]
            finished[group] = sorted(finished[group], reverse=True)[:size]
            taken += [ids[-1] for _, ids in alive[group]]
            full = len(finished[group]) == size
            best = alive[group][0][0] if alive[group] else -np.inf
            reach = length
            if asked.early_stopping == "never" and asked.length_penalty > 0:
                reach = asked.max_new_tokens
            beaten = full and best / reach**asked.length_penalty <= finished[group][-1][0]
            over[group] = not alive[group] or (full and asked.early_stopping is True) or beaten
        if all(over):
            break
    found = sorted((one for group in finished for one in group), reverse=True)
    return [(score, list(ids)) for score, ids in found[: asked.num_return_sequences]]


def naive_contrastive(
    decoder: WholeDecoder, prompt: Sequence[int], asked: GenerationSettings
) -> list[int]:
    """One continuation by contrastive search: every candidate's text is read from its start."""
    ids = list(prompt)
    while len(ids) - len(prompt) < asked.max_new_tokens:
        logits = decoder.outputs(tuple(ids))[0]
        probabilities = np.exp(logits) / np.exp(logits).sum()
        scores = {}
        for token in sorted(range(len(logits)), key=lambda t: -logits[t])[: asked.top_k]:
            *before, last = decoder.outputs((*ids, token))[1]
            cosines = [
                float(last @ other) / float(np.sqrt((last @ last) * (other @ other)))
                for other in before
            ]
            alpha = asked.penalty_alpha
            scores[token] = (1 - alpha) * probabilities[token] - alpha * max(cosines)
        ids.append(max(scores, key=lambda token: scores[token]))
        if ids[-1] in asked.eos_token_id:
            break
    return ids[len(prompt) :]
