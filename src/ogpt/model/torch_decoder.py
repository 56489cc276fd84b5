"""The Decoder protocol in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.errors import ContextTooLong, DecoderError, TokenOutOfRange
from ogpt.generation.decoder import Abilities, Scores, Want
from ogpt.generation.processors import Logits
from ogpt.model.cache import KVCache
from ogpt.model.generate import GenerationMixin
from ogpt.model.prompts import Opening

_CHUNK_ELEMENTS = 2**24  # logits scored at once


class TorchDecoder:
    """A Decoder over a model with a language-model head, and a preallocated KVCache.

    Args:
        model: In evaluation mode.
        slots: Sequences held at once.
        openings: Prompts that `open` reads: what they have beyond ids (embeddings, token types,
            positions), what follows them goes on with.
    """

    def __init__(
        self, model: GenerationMixin, slots: int, openings: Sequence[Opening] = ()
    ) -> None:
        self.model = model
        self.n_positions = model.config.n_positions
        self.vocab_size = model.config.vocab_size
        self.slots = slots
        self.abilities = Abilities(
            hidden_states=True, attentions=True, device_sampling=False, bitwise=False
        )
        self.cache = KVCache(model.config, slots, model.dtype, model.device)
        self._appended: dict[int, Tensor] = {}  # slot -> last hidden states (T, C)
        self._openings = openings
        self._types: list[int | None] = [None] * slots  # of each slot's next tokens
        self._shifts = [0] * slots  # by which positions are ahead of what the slot holds

    def extend(self, slot: int, ids: Sequence[int], want: Want = "last") -> Logits | None:
        """Append `ids` to the slot; see Decoder."""
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

    def step(self, slots: Sequence[int], ids: Sequence[int]) -> Logits:
        """Append one token to each slot; see Decoder."""
        hidden = self._read(slots, [[token] for token in ids])
        return self._logits(hidden[:, -1])

    @torch.inference_mode()
    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and score `targets`; see Decoder."""
        if len(targets) != len(ids):
            raise DecoderError(
                f"{len(targets)} targets were given for {len(ids)} ids; one for each is needed",
                hint="pass the token that follows each id",
            )
        self._check_ids(targets)
        hidden = self._read([slot], [ids])[0]
        wanted = torch.tensor(targets, device=hidden.device)
        chosen, top_ids, top_log_probs = [], [], []
        chunk = max(1, _CHUNK_ELEMENTS // self.vocab_size)
        for part, labels in zip(
            torch.split(hidden, chunk), torch.split(wanted, chunk), strict=True
        ):
            log_probs = torch.log_softmax(self.model.lm_head(part).float(), dim=-1)
            chosen.append(log_probs.gather(1, labels[:, None])[:, 0])
            best = log_probs.topk(top)
            top_ids.append(best.indices)
            top_log_probs.append(best.values)
        return Scores(
            torch.cat(chosen).cpu().numpy(),
            torch.cat(top_ids).cpu().numpy(),
            torch.cat(top_log_probs).cpu().numpy(),
        )

    def hidden(self, slot: int) -> NDArray[np.floating[Any]]:
        """Last hidden states of what the last call appended to the slot; see Decoder."""
        if slot not in self._appended:
            raise DecoderError(
                f"slot {slot} was asked for hidden states; the last call appended tokens to "
                f"{list(self._appended) or 'no slot'}",
                hint="ask for them right after extend, step or score",
            )
        return _numpy(self._appended[slot])

    def length(self, slot: int) -> int:
        """Tokens that the slot holds."""
        self._check_slots([slot])
        return self.cache.lengths[slot]

    def truncate(self, slot: int, length: int) -> None:
        """Rewind the slot."""
        held = self.length(slot)
        if not 0 <= length <= held:
            raise DecoderError(
                f"slot {slot} cannot be cut to {length} tokens; it holds {held}",
                hint=f"choose 0 to {held}",
            )
        self.cache.lengths[slot] = length

    def copy(self, source: int, target: int) -> None:
        """Make the target slot equal to the source slot."""
        self._check_slots([source])
        self._check_slots([target])
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

    def _read(self, slots: Sequence[int], rows: Sequence[Sequence[int]]) -> Tensor:
        """Append the rows to the slots; return their last hidden states, (len(slots), T, C)."""
        self._check_slots(slots)
        if not rows or not rows[0] or len(rows) != len(slots):
            raise DecoderError(
                f"{len(rows)} rows of {len(rows[0]) if rows else 0} tokens were given for "
                f"{len(slots)} slots; at least one token for each is needed",
                hint="pass as many tokens as slots, and no empty prompt",
            )
        for row in rows:
            self._check_ids(row)
        longest = max(self.cache.lengths[slot] + self._shifts[slot] for slot in slots)
        if longest + len(rows[0]) > self.n_positions:
            raise ContextTooLong(
                f"{longest} positions are taken and {len(rows[0])} tokens given; the model has "
                f"{self.n_positions} positions",
                hint="truncate the slot first; generate() slides by itself",
            )
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
        self._appended = dict(zip(slots, hidden, strict=True))
        return hidden

    @torch.inference_mode()
    def _logits(self, hidden: Tensor) -> Logits:
        return _numpy(self.model.lm_head(hidden))

    def _tensor(self, values: Sequence[Any]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.model.device)

    def _check_slots(self, slots: Sequence[int]) -> None:
        if len(set(slots)) != len(slots) or not all(0 <= slot < self.slots for slot in slots):
            raise DecoderError(
                f"slots {list(slots)} were given; they must differ and lie in 0 to "
                f"{self.slots - 1}",
                hint="open the decoder with more slots, or name each slot once",
            )

    def _check_ids(self, ids: Sequence[int]) -> None:
        for place, token in enumerate(ids):
            if not 0 <= token < self.vocab_size:
                raise TokenOutOfRange(
                    f"token id {token} at place {place}; ids go from 0 to {self.vocab_size - 1}",
                    hint="check that tokenizer and model belong together",
                )


def _numpy(tensor: Tensor) -> NDArray[np.floating[Any]]:
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    found: NDArray[np.floating[Any]] = wide.cpu().numpy()
    return found
