"""The decoder of a model's last call, whose graphs and memory its next call uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ogpt.tf.decoder.tensorflow_decoder import TensorFlowDecoder
from ogpt.tf.language_model import TFLanguageModel


class TFKeptDecoder:
    """Lends one decoder at a time; calls in other threads get decoders of their own."""

    def __init__(self) -> None:
        self._kept: list[TensorFlowDecoder] = []
        self._variables: list[Any] = []

    @contextmanager
    def lent(self, model: TFLanguageModel, slots: int) -> Iterator[TensorFlowDecoder]:
        """A decoder with empty slots; the body leaves them empty.

        Args:
            model: The model, always the same.
            slots: Number of sequences at least. More slots change no text, and a new decoder would
                trace its graphs again, which takes seconds.
        """
        variables = list(model.variables)
        decoder = self._kept.pop() if self._kept else None
        if decoder is None or decoder.slots < slots or not same(variables, self._variables):
            decoder = TensorFlowDecoder(model, slots)
        yield decoder
        self._kept[:], self._variables = [decoder], variables  # not after an error


def same(variables: list[Any], others: list[Any]) -> bool:
    """Whether both are the same objects.

    Layers that resizing replaces have other variables, which a graph does not see.
    """
    return [*map(id, variables)] == [*map(id, others)]
