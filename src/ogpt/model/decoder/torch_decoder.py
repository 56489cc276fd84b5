"""The Decoder protocol in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ogpt.generation.protocol.decoder import Abilities, Attentions, Computed, Part, Scores
from ogpt.generation.protocol.slots import (
    check_cut,
    check_open,
    check_parts,
    check_slot,
    check_targets,
)
from ogpt.model.cache import KVCache
from ogpt.model.decoder.bare_prompt import BarePrompt
from ogpt.model.decoder.scores import score_hidden
from ogpt.model.decoder.states import computed, numpy_of
from ogpt.model.language_model import LanguageModel
from ogpt.model.lstm import LSTMModel
from ogpt.model.outputs import BaseModelOutput


class TorchDecoder:
    """A Decoder over a model with a language-model head and a preallocated KVCache.

    Args:
        model: In evaluation mode.
        slots: Number of sequences held at the same time.
        prompts: Prompts for `open`. They may have more than ids: embeddings, token types or
            positions. Later tokens of the slot continue the token type and the positions.
    """

    def __init__(
        self, model: LanguageModel, slots: int, prompts: Sequence[BarePrompt] = ()
    ) -> None:
        self.model = model
        self.n_positions = model.config.n_positions
        self.vocab_size = model.config.vocab_size
        self.slots = slots
        self.abilities = Abilities(
            hidden_states=True,
            attentions=not isinstance(model.transformer, LSTMModel),
            device_sampling=False,
            bitwise=False,
        )
        self._held: KVCache | None = model.transformer.new_cache(slots)
        self._prompts = prompts
        self._types: list[int | None] = [None] * slots  # token type of each slot's next tokens
        self._shifts = [0] * slots  # next position of each slot, less the tokens it holds

    @property
    def cache(self) -> KVCache:
        """Keys and values of all slots."""
        check_open(self._held is not None)
        assert self._held is not None
        return self._held

    @torch.inference_mode()
    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        """Append tokens to slots; see Decoder."""
        parts = self._checked(parts)
        states: dict[int, Tensor] = {}  # slot -> last hidden states (T, C)
        with self._all_or_nothing():
            steps = [part for part in parts if len(part.ids) == 1]
            if steps:  # parts of one token are one batch
                slots = [part.slot for part in steps]
                states.update(zip(slots, self._read(steps).last_hidden_state, strict=True))
            for part in parts:
                if len(part.ids) > 1:
                    states[part.slot] = self._read([part]).last_hidden_state[0]
            return computed(
                parts,
                [states[part.slot] for part in parts],
                self.model.lm_head,
                self.vocab_size,
                hidden,
            )

    @torch.inference_mode()
    def open(self, slot: int, prompt: int, hidden: bool = False) -> Computed:
        """Append a prompt to the empty slot, as a part whose last logits are wanted."""
        given = self._prompts[prompt]
        kinds, places = given.token_types, given.positions
        with self._all_or_nothing():
            states = self._append(
                [slot],
                None if given.embeds is not None else self._tensor([given.ids]),
                inputs_embeds=None if given.embeds is None else given.embeds[None],
                token_type_ids=None if kinds is None else self._tensor([kinds]),
                position_ids=None if places is None else self._tensor([places]),
            ).last_hidden_state
            part = Part(slot, given.ids)
            found = computed([part], [states[0]], self.model.lm_head, self.vocab_size, hidden)
        self._types[slot] = None if kinds is None else kinds[-1]
        self._shifts[slot] = given.next_position - given.length
        return found

    @torch.inference_mode()
    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and score `targets`; see Decoder."""
        labels = check_targets(ids, targets, top, self.vocab_size)
        parts = self._checked([Part(slot, ids)])
        with self._all_or_nothing():
            states = self._read(parts).last_hidden_state[0]
            return score_hidden(states, self.model.lm_head, labels, self.vocab_size, top)

    @torch.inference_mode()
    def attend(self, slot: int, token_id: int) -> Attentions:
        """Append a token and return its attention; see AttentionDecoder."""
        parts = self._checked([Part(slot, [token_id])])
        with self._all_or_nothing():
            layers = self._read(parts, output_attentions=True).attentions
        assert layers is not None
        return tuple(numpy_of(layer[0, :, 0]) for layer in layers)  # (1, n_head, 1, S)

    def length(self, slot: int) -> int:
        """Number of tokens in the slot."""
        return self.cache.lengths[check_slot(slot, self.slots)]

    def truncate(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of the slot."""
        self.cache.lengths[slot] = check_cut(slot, length, self.length(slot))

    def copy(self, source: int, target: int) -> None:
        """Make the target slot equal to the source slot."""
        for slot in (source, target):
            check_slot(slot, self.slots)
        self.cache.copy(source, target)
        self._types[target] = self._types[source]
        self._shifts[target] = self._shifts[source]

    def free(self, slot: int) -> None:
        """Empty the slot."""
        self.truncate(slot, 0)
        self._types[slot] = None
        self._shifts[slot] = 0

    def close(self) -> None:
        """Release the cache's memory; a second call does nothing."""
        self._held = None

    def _checked(self, parts: Sequence[Part]) -> list[Part]:
        pairs = zip(self.cache.lengths, self._shifts, strict=True)
        taken = [length + shift for length, shift in pairs]
        return check_parts(parts, taken, self.n_positions, self.vocab_size)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Restore all lengths where the body fails, for example for want of memory.

        What it wrote to the cache lies beyond these lengths, where nothing reads it.
        """
        lengths = list(self.cache.lengths)
        try:
            yield
        except BaseException:
            self.cache.lengths[:] = lengths
            raise

    def _read(self, parts: Sequence[Part], **wanted: bool) -> BaseModelOutput:
        """Append parts of equal length T; `wanted` are outputs beside the last hidden states."""
        slots = [part.slot for part in parts]
        kinds, shifts = ([held[slot] for slot in slots] for held in (self._types, self._shifts))
        self.cache.active = slots
        T = len(parts[0].ids)
        return self._append(
            slots,
            self._tensor([part.ids for part in parts]),
            token_type_ids=None if None in kinds else self._tensor([[kind] * T for kind in kinds]),
            position_ids=self.cache.positions(T) + self._tensor(shifts)[:, None]
            if any(shifts)
            else None,
            **wanted,
        )

    def _append(self, slots: Sequence[int], ids: Tensor | None, **inputs: Any) -> BaseModelOutput:
        self.cache.active = list(slots)
        found: BaseModelOutput = self.model.transformer(
            ids, past_key_values=self.cache, return_dict=True, **inputs
        )
        return found

    def _tensor(self, values: Sequence[Any]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.model.device)
