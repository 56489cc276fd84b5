"""The native decoder of ogpt as a contender: `open_decoder` and the search of `ogpt generate`.

The variant is the weight dtype, and the KV cache dtype if it is not float32: `int8 bfloat16`.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peers.protocol import Setup, serve
from ogpt.decoding.choice import open_decoder
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.searching.sampling import search


class Native:
    """An Engine."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._decoder: Decoder | None = None

    def generate(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """See Engine."""
        settings = GenerationSettings(max_new_tokens=new, do_sample=False)
        found: list[list[int]] = [[] for _ in prompts]
        for token in search(self._with_slots(len(prompts)), prompts, settings):
            found[token.continuation].append(token.id)
        return found

    def read(self, prompts: list[list[int]]) -> list[int]:
        """See Engine."""
        decoder = self._with_slots(len(prompts))
        for slot in range(len(prompts)):
            decoder.free(slot)
        logits = decoder.run([Part(*each) for each in enumerate(prompts)]).logits
        return [int(token) for token in np.argmax(logits, axis=-1)]

    def _with_slots(self, slots: int) -> Decoder:
        """A decoder with this number of slots, opened on first use."""
        if self._decoder is None or self._decoder.slots != slots:
            if self._decoder is not None:
                self._decoder.close()
            self._decoder = open_native(self._setup, slots)
        return self._decoder


def open_native(setup: Setup, slots: int) -> Decoder:
    """Open the folder of the variant's dtype."""
    dtype, _, cache_dtype = setup.variant.partition(" ")
    return open_decoder(
        setup.folder / dtype,
        decoder="native",
        dtype=dtype,
        cache_dtype=cache_dtype or "float32",
        threads=setup.threads,
        slots=slots,
    )


if __name__ == "__main__":
    serve(("ogpt", "numpy"), Native)
