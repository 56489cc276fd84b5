"""Attentions and hidden states of every step, for output_attentions and output_hidden_states.

transformers' GPT-1 has no KV cache: each of its steps returns those of the whole text so far. They
are the same here, computed after the search: a later token changes nothing for the tokens before
it, so one forward pass over a finished text has the states of all of its steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ogpt.errors import ContextTooLong, DecoderError
from ogpt.generation.choosing.arguments import Arguments
from ogpt.generation.choosing.rules import Rule
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.searching.text import Watch
from ogpt.model.language_model import LanguageModel
from ogpt.model.lstm import LSTMModel

Steps = tuple[tuple[Tensor, ...], ...]
"""For each new token a tensor for each layer."""


class PromptInputs(NamedTuple):
    """Tensors of a call of generate(), as passed: (B, T), or (T,) for one prompt."""

    input_ids: Tensor | None
    attention_mask: Tensor | None = None
    token_type_ids: Tensor | None = None
    position_ids: Tensor | None = None
    inputs_embeds: Tensor | None = None
    """(B, T, C) or (T, C), in place of ids."""


class InnerStates:
    """Collects what the states of a call depend on, and computes them.

    Args:
        model: The model.
        passed: The prompts.
        asked: The arguments of the call.

    Raises:
        ContextTooLong: a text, with its padding, would exceed the context length.
        DecoderError: the model has no attentions.
    """

    def __init__(self, model: LanguageModel, passed: PromptInputs, asked: Arguments) -> None:
        self._model = model
        self._attentions = asked.output_attentions
        self._hidden = asked.output_hidden_states
        self._settings = asked.settings
        self.wanted = self._attentions or self._hidden
        if self._attentions and isinstance(model.transformer, LSTMModel):
            raise DecoderError(
                "output_attentions is True; an LSTM has no attentions",
                hint="omit output_attentions, or use a transformer",
            )
        self._passed = passed
        ids, *_, embeds = passed
        if embeds is not None:
            self._prompts = embeds if embeds.dim() == 3 else embeds[None]
        elif ids is not None:
            self._prompts = ids if ids.dim() == 2 else ids[None]
        most = self._prompts.shape[1] + asked.settings.max_new_tokens - 1
        n_positions = model.config.n_positions
        if self.wanted and most > n_positions:
            raise ContextTooLong(
                f"attentions or hidden states of {most} tokens were requested; the context length "
                f"is {n_positions}, and they have no sliding window",
                hint="shorten the prompt or lower max_new_tokens",
            )
        self._beams: dict[int, list[list[list[int]]]] = {}  # by prompt and step, the new ids
        self._seen: list[list[int]] = []

    @property
    def rules(self) -> list[Rule]:
        """Rules of a beam search that change nothing, and see its beams."""
        return [self._look] if self.wanted else []

    def watched(self, watch: Watch | None) -> Watch | None:
        """A watch of a beam search that also keeps the beams of each prompt and step."""
        if not self.wanted:
            return watch

        def both(prompt: int, logits: Logits, scores: Logits) -> None:
            self._beams.setdefault(prompt, []).append(self._seen)
            self._seen = []
            if watch is not None:
                watch(prompt, logits, scores)

        return both

    def of_rows(self, whole: Tensor) -> tuple[Steps | None, Steps | None]:
        """Attentions and hidden states of finished rows, if they are wanted.

        Args:
            whole: Prompts and continuations, (rows, longest).
        """
        if not self.wanted:
            return None, None
        width = self._prompts.shape[1]
        before = 0 if self._passed.inputs_embeds is not None else width
        new = whole[:, before:]
        attentions, hidden = self._forward(new[:, :-1], self._settings.num_return_sequences)
        lengths = range(width, width + new.shape[1])
        steps = (
            tuple(tuple(layer[..., :n, :n] for layer in attentions) for n in lengths),
            tuple(tuple(layer[:, :n] for layer in hidden) for n in lengths),
        )
        return steps[0] if self._attentions else None, steps[1] if self._hidden else None

    def of_beams(self) -> tuple[Steps | None, Steps | None]:
        """Attentions and hidden states of all beams at each step, if they are wanted.

        A prompt whose search has ended keeps its last beams, padded.
        """
        if not self.wanted:
            return None, None
        longest = max(map(len, self._beams.values()))
        found = []
        for step in range(longest):
            rows = []
            for _, steps in sorted(self._beams.items()):
                beams = steps[min(step, len(steps) - 1)]
                beams = [*beams, *beams[:1] * (self._settings.num_beams - len(beams))]
                rows += [[*ids, *[0] * (step - len(ids))] for ids in beams]
            new = torch.tensor(rows, dtype=torch.int64, device=self._model.device)
            found.append(self._forward(new, self._settings.num_beams))
        attentions, hidden = zip(*found, strict=True)
        return attentions if self._attentions else None, hidden if self._hidden else None

    def _look(self, ids: Sequence[int], n_prompt: int, logits: Logits) -> Logits:
        self._seen.append(list(ids[n_prompt:]))
        return logits

    @torch.inference_mode()
    def _forward(self, new: Tensor, each: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Attentions and hidden states of prompts and new tokens.

        Args:
            new: (rows, N) ids.
            each: Rows of a prompt.
        """
        _, mask, kinds, places, embeds = self._passed
        N = new.shape[1]

        def extended(x: Tensor | None, more: Callable[[Tensor], Tensor]) -> Tensor | None:
            if x is None:
                return None
            every = x.reshape(-1, x.shape[-1]).expand(len(self._prompts), -1)
            every = every.repeat_interleave(each, dim=0)
            return torch.cat([every, more(every[:, -1:]).to(every)], dim=1)

        given: dict[str, Any] = {
            "attention_mask": extended(mask, lambda last: last.new_ones(len(last), N)),
            "token_type_ids": extended(kinds, lambda last: last.expand(-1, N)),
            "position_ids": extended(
                places, lambda last: last + 1 + torch.arange(N, device=last.device)
            ),
        }
        prompts = self._prompts.repeat_interleave(each, dim=0)
        new = new.clamp(min=0)  # padding may be no token, such as -1
        if embeds is None:
            given["input_ids"] = torch.cat([prompts.clamp(min=0), new.to(prompts)], dim=1)
        else:
            of_new = self._model.transformer.tokens_embed(new)
            given["inputs_embeds"] = torch.cat([prompts, of_new.to(prompts)], dim=1)
        out = self._model.transformer(
            **given,
            output_attentions=self._attentions,
            output_hidden_states=self._hidden,
            return_dict=True,
        )
        return out.attentions or (), out.hidden_states or ()
