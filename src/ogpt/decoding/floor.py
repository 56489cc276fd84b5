"""The floor under a token's time: all weights are read for it, as fast as memory gives them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ogpt import processor
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.generation.protocol.decoder import Decoder
from ogpt.weights.quantized import GROUP_SIZE

_BYTES_PER_WEIGHT = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "int8": 1 + 4 / GROUP_SIZE,
    "int4": 0.5 + 4 / GROUP_SIZE,
}
_MEASURED_BYTES = 1 << 28  # far more than caches hold
_TIMES = 5


def weight_bytes(decoder: Decoder, config: OpenAIGPTConfig) -> int | None:
    """Bytes of packed weights that each step reads; None where a decoder does not tell its dtype.

    The matrices, and the token embedding, which is the head; not the little else.
    """
    if not isinstance(decoder, NativeDecoder):
        return None
    weights = (config.vocab_size + config.n_layer * 12 * config.n_embd) * config.n_embd
    return int(weights * _BYTES_PER_WEIGHT[decoder.dtype])


def read_bandwidth(threads: int = 0) -> float:
    """Bytes a second that memory gives to `threads` threads (0: all cores), the best of a few."""
    threads = threads or processor.cores()
    whole = np.ones(_MEASURED_BYTES // 4, np.float32)
    parts = np.array_split(whole, threads)
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_TIMES):
            begun = time.perf_counter()
            list(pool.map(lambda part: np.dot(part, part), parts))
            best = min(best, time.perf_counter() - begun)
    return whole.nbytes / best
