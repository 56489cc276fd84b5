"""The Decoder protocol in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.errors import ContextTooLong, DecoderError, TokenOutOfRange
from ogpt.generation.decoder import Abilities, Scores, Want
from ogpt.model.cache import KVCache
from ogpt.model.heads import OpenAIGPTLMHeadModel

_CHUNK_ELEMENTS = 2**24  # logits scored at once


class TorchDecoder:
    """A Decoder over an OpenAIGPTLMHeadModel and a preallocated KVCache."""

    def __init__(self, model: OpenAIGPTLMHeadModel, slots: int) -> None:
        self.model = model.eval().requires_grad_(False)
        self.n_positions = model.config.n_positions
        self.vocab_size = model.config.vocab_size
        self.slots = slots
        self.abilities = Abilities(
            hidden_states=True, attentions=True, device_sampling=False, bitwise=False
        )
        self.cache = KVCache(model.config, slots, model.dtype, model.device)

    def extend(
        self, slot: int, ids: Sequence[int], want: Want = "last"
    ) -> NDArray[np.float32] | None:
        """Append `ids` to the slot; see Decoder."""
        hidden = self._read([slot], [ids])[0]
        if want == "none":
            return None
        if want == "last":
            return _numpy(self.model.lm_head(hidden[-1]))
        return _numpy(self.model.lm_head(hidden))

    def step(self, slots: Sequence[int], ids: Sequence[int]) -> NDArray[np.float32]:
        """Append one token to each slot; see Decoder."""
        hidden = self._read(slots, [[token] for token in ids])
        return _numpy(self.model.lm_head(hidden[:, -1]))

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
            _numpy(torch.cat(chosen)),
            torch.cat(top_ids).cpu().numpy(),
            _numpy(torch.cat(top_log_probs)),
        )

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

    def free(self, slot: int) -> None:
        """Empty the slot."""
        self.truncate(slot, 0)

    def close(self) -> None:
        """Give the cache's memory back."""
        del self.cache

    @torch.inference_mode()
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
        longest = max(self.cache.lengths[slot] for slot in slots)
        if longest + len(rows[0]) > self.n_positions:
            raise ContextTooLong(
                f"{longest} tokens are held and {len(rows[0])} more given; the model has "
                f"{self.n_positions} positions",
                hint="truncate the slot first; generate() slides by itself",
            )
        self.cache.active = list(slots)
        ids = torch.tensor(rows, dtype=torch.int64, device=self.model.device)
        hidden: Tensor = self.model.transformer(ids, past_key_values=self.cache).last_hidden_state
        return hidden

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


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.float().cpu().numpy()
    return found
