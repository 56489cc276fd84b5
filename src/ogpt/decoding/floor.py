"""Lower bound on the time of a decoding step: reading all weights once from memory."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ogpt import processor
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.library import BYTES_PER_WEIGHT
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.generation.protocol.decoder import Decoder

_MEASURED_BYTES = 1 << 28  # 256 MiB, far more than CPU caches hold
_TIMES = 5


def weight_bytes(decoder: Decoder, config: OpenAIGPTConfig) -> int | None:
    """Bytes of packed weights that each step reads; None for decoders other than the native one.

    Counts the matrices and the token embedding, which is also the head. Biases and norms are left
    out: they are at most about 1 % of the bytes.
    """
    if not isinstance(decoder, NativeDecoder):
        return None
    weights = (config.vocab_size + config.n_layer * 12 * config.n_embd) * config.n_embd
    return int(weights * BYTES_PER_WEIGHT[decoder.dtype])


def read_bandwidth(threads: int = 0) -> float:
    """Memory bandwidth in bytes per second, the best of 5 runs; `threads` 0 uses all cores."""
    threads = threads or processor.cores()
    whole = np.ones(_MEASURED_BYTES // 4, np.float32)
    parts = np.array_split(whole, threads)
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_TIMES):
            start = time.perf_counter()
            list(pool.map(lambda part: np.dot(part, part), parts))
            best = min(best, time.perf_counter() - start)
    return whole.nbytes / best
