"""The Decoder protocol in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.generation.choosing.processors import Logits
from ogpt.generation.protocol.decoder import Abilities, Scores, Want
from ogpt.model.cache import KVCache
from ogpt.model.decoder.scores import score_hidden
from ogpt.model.decoder.slots import (
    Appended,
    check_cut,
    check_ids,
    check_room,
    check_rows,
    check_slots,
    check_targets,
    numpy_of,
)
from ogpt.model.generate.prompts import Opening
from ogpt.model.language_model import LanguageModel


class TorchDecoder:
    """A Decoder over a model with a language-model head, and a preallocated KVCache.

    Args:
        model: In evaluation mode.
        slots: Sequences held at once.
        openings: Prompts that `open` reads: what they have beyond ids (embeddings, token types,
            positions), what follows them goes on with.
    """

    def __init__(self, model: LanguageModel, slots: int, openings: Sequence[Opening] = ()) -> None:
        self.model = model
        self.n_positions = model.config.n_positions
        self.vocab_size = model.config.vocab_size
        self.slots = slots
        self.abilities = Abilities(
            hidden_states=True, attentions=True, device_sampling=False, bitwise=False
        )
        self.cache = KVCache(model.config, slots, model.dtype, model.device)
        self._appended = Appended()
        self._openings = openings
        self._types: list[int | None] = [None] * slots  # of each slot's next tokens
        self._shifts = [0] * slots  # by which positions are ahead of what the slot holds

    def extend(self, slot: int, ids: Sequence[int], want: Want = "last") -> Logits | None:
        """Append `ids` to the slot; see Decoder."""
        self._check([slot], [ids])
        hidden = self._read([slot], [ids])[0]
        if want == "none":
            return None
        if want == "last":
            return self._logits(hidden[-1])
        return self._logits(hidden)

    def open(self, slot: int, prompt: int) -> Logits:
        """Read an opening into the empty slot; return the logits (V,) of what follows."""
        opening = self._openings[prompt]
        kinds, places = opening.token_types, opening.positions
        hidden = self._append(
            [slot],
            None if opening.embeds is not None else self._tensor([opening.ids]),
            inputs_embeds=None if opening.embeds is None else opening.embeds[None],
            token_type_ids=None if kinds is None else self._tensor([kinds]),
            position_ids=None if places is None else self._tensor([places]),
        )
        self._types[slot] = None if kinds is None else kinds[-1]
        self._shifts[slot] = opening.next_position - opening.length
        return self._logits(hidden[0, -1])

    def read(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Logits:
        """Append to each slot ids of its own; see Decoder."""
        self._check(slots, prompts)
        hidden = [self._read([slot], [ids])[0] for slot, ids in zip(slots, prompts, strict=True)]
        self._appended = Appended(list(slots), hidden)
        return self._logits(torch.stack([states[-1] for states in hidden]))

    def step(self, slots: Sequence[int], ids: Sequence[int]) -> Logits:
        """Append one token to each slot; see Decoder."""
        rows = [[token] for token in ids]
        self._check(slots, rows)
        hidden = self._read(slots, rows)
        return self._logits(hidden[:, -1])

    @torch.inference_mode()
    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and score `targets`; see Decoder."""
        check_targets(ids, targets, self.vocab_size)
        self._check([slot], [ids])
        hidden = self._read([slot], [ids])[0]
        return score_hidden(hidden, self.model.lm_head, targets, self.vocab_size, top)

    def hidden(self, slot: int) -> NDArray[np.floating[Any]]:
        """Last hidden states of what the last call appended to the slot; see Decoder."""
        return self._appended.of(slot)

    def length(self, slot: int) -> int:
        """Tokens that the slot holds."""
        check_slots([slot], self.slots)
        return self.cache.lengths[slot]

    def truncate(self, slot: int, length: int) -> None:
        """Rewind the slot."""
        check_cut(slot, length, self.length(slot))
        self.cache.lengths[slot] = length

    def copy(self, source: int, target: int) -> None:
        """Make the target slot equal to the source slot."""
        check_slots([source], self.slots)
        check_slots([target], self.slots)
        self.cache.copy(source, target)
        self._types[target] = self._types[source]
        self._shifts[target] = self._shifts[source]

    def free(self, slot: int) -> None:
        """Empty the slot."""
        self.truncate(slot, 0)
        self._types[slot] = None
        self._shifts[slot] = 0

    def close(self) -> None:
        """Give the cache's memory back."""
        del self.cache

    def _check(self, slots: Sequence[int], rows: Sequence[Sequence[int]]) -> None:
        check_slots(slots, self.slots)
        check_rows(slots, rows)
        for row in rows:
            check_ids(row, self.vocab_size)
        for slot, row in zip(slots, rows, strict=True):
            check_room(self.cache.lengths[slot] + self._shifts[slot], len(row), self.n_positions)

    def _read(self, slots: Sequence[int], rows: Sequence[Sequence[int]]) -> Tensor:
        """Append checked rows (len(slots), T); return their last hidden states, (.., T, C)."""
        self.cache.active = list(slots)
        kinds, shifts = ([held[slot] for slot in slots] for held in (self._types, self._shifts))
        T = len(rows[0])
        return self._append(
            slots,
            self._tensor(rows),
            token_type_ids=None if None in kinds else self._tensor([[kind] * T for kind in kinds]),
            position_ids=self.cache.positions(T) + self._tensor(shifts)[:, None]
            if any(shifts)
            else None,
        )

    @torch.inference_mode()
    def _append(self, slots: Sequence[int], ids: Tensor | None, **inputs: Tensor | None) -> Tensor:
        self.cache.active = list(slots)
        hidden: Tensor = self.model.transformer(
            ids, past_key_values=self.cache, return_dict=True, **inputs
        ).last_hidden_state
        self._appended = Appended(list(slots), hidden)
        return hidden

    @torch.inference_mode()
    def _logits(self, hidden: Tensor) -> Logits:
        return numpy_of(self.model.lm_head(hidden))

    def _tensor(self, values: Sequence[Any]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.model.device)
