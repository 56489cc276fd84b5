"""The states of an LSTM after each token, so that a decoder can return to any of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.cache import KVCache, register_cache


class LSTMCache(KVCache):
    """A KVCache with hidden states in place of keys and cell states in place of values.

    The last state is enough to continue. All of them are kept, so that a sequence can be truncated
    to any length; they take less memory than a transformer's keys and values.
    """

    @staticmethod
    def layer_shapes(config: OpenAIGPTConfig) -> list[tuple[int, int]]:
        """One layer with one state of lstm_units numbers."""
        assert isinstance(config, LSTMConfig)
        return [(1, config.lstm_units)]

    def last(self) -> tuple[Tensor, Tensor]:
        """Hidden and cell state after the last token of each active row, 2 of (1, rows, units)."""
        starts = torch.tensor(self.starts(), device=self.device)
        rows = torch.tensor(list(self.active), device=self.device)
        started = (starts > 0)[:, None]  # an empty row may hold numbers of an earlier sequence
        hidden, cell = (
            torch.where(started, store[0][rows, 0, starts - 1], 0.0)[None]
            for store in (self.keys, self.values)
        )
        return hidden, cell


register_cache(LSTMCache)
