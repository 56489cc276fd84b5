"""A prompt of generate() without its padding, as TorchDecoder.open processes it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class BarePrompt(NamedTuple):
    """A prompt without its padding."""

    ids: list[int]
    """Token ids; empty for embeddings."""
    embeds: Tensor | None
    """(length, C), used instead of ids."""
    token_types: list[int] | None
    """Ids whose token embeddings are added; new tokens repeat the last one."""
    positions: list[int] | None
    """Position of each token; None: 0, 1, 2, ..."""
    length: int
    next_position: int
    """Position of the first new token."""

    @property
    def plain(self) -> bool:
        """Whether it consists of ids alone."""
        return self.embeds is None and self.token_types is None and self.positions is None
