"""llama.cpp: a file of `gguf_file`, quantized by llama.cpp, run through its C API."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.gguf_file import write_file
from benchmarks.peers.protocol import Setup, serve

FILE_TYPES = {
    "f32": llama.LLAMA_FTYPE_ALL_F32,
    "bf16": llama.LLAMA_FTYPE_MOSTLY_BF16,
    "q8_0": llama.LLAMA_FTYPE_MOSTLY_Q8_0,
    "q4_0": llama.LLAMA_FTYPE_MOSTLY_Q4_0,
}


def quantize(source: Path, file: Path, variant: str) -> None:
    """Quantize all matrices to one type, the head included, which is fastest."""
    wanted = llama.llama_model_quantize_default_params()
    wanted.ftype, wanted.pure = FILE_TYPES[variant], True
    failed = llama.llama_model_quantize(
        str(source).encode(), str(file).encode(), ctypes.byref(wanted)
    )
    if failed:
        raise SystemExit(f"llama.cpp could not write {variant}")


@llama.llama_log_callback
def unheard(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """Drop log messages: failures show in return values."""


class LlamaCpp:
    """An Engine."""

    def __init__(self, setup: Setup) -> None:
        llama.llama_log_set(unheard, ctypes.c_void_p(0))
        llama.llama_backend_init()
        self._setup = setup
        whole, file = (setup.folder / f"llama_cpp-{each}.gguf" for each in ("f32", setup.variant))
        part = setup.folder / "llama_cpp.part"  # renamed when complete
        if not whole.exists():
            write_file(setup.shape, "f32", part)
            part.rename(whole)
        if not file.exists():
            quantize(whole, part, setup.variant)
            part.rename(file)
        wanted = llama.llama_model_default_params()
        self._model = llama.llama_model_load_from_file(str(file).encode(), wanted)
        self._context, self._sequences = None, 0

    def generate(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """See Engine."""
        self._set_aside(len(prompts))
        ids = self._next(np.array(prompts), 0)
        found = [ids]
        for position in range(len(prompts[0]), len(prompts[0]) + new - 1):
            ids = self._next(ids[:, None], position)
            found.append(ids)
        return np.stack(found, 1).tolist()

    def read(self, prompts: list[list[int]]) -> list[int]:
        """See Engine."""
        self._set_aside(len(prompts))
        return self._next(np.array(prompts), 0).tolist()

    def _set_aside(self, sequences: int) -> None:
        """An empty KV cache for this number of sequences, allocated on first use."""
        if self._sequences == sequences:
            llama.llama_memory_clear(llama.llama_get_memory(self._context), False)
            return
        if self._context is not None:
            llama.llama_free(self._context)
            llama.llama_batch_free(self._batch)
        wanted = llama.llama_context_default_params()
        wanted.n_seq_max = sequences
        wanted.n_ctx = wanted.n_batch = sequences * self._setup.shape["n_positions"]
        wanted.n_threads = wanted.n_threads_batch = self._setup.threads
        self._context = llama.llama_init_from_model(self._model, wanted)
        self._batch = llama.llama_batch_init(wanted.n_batch, 0, 1)
        self._sequences = sequences

    def _next(self, ids: NDArray[np.int64], start: int) -> NDArray[np.int64]:
        """Append ids (B, T) at position `start`; return the top ids (B,) after them."""
        batch, (rows, columns) = self._batch, ids.shape
        batch.n_tokens = ids.size
        place = 0
        for sequence in range(rows):
            for position in range(columns):
                batch.token[place] = ids[sequence, position]
                batch.pos[place] = start + position
                batch.n_seq_id[place] = 1
                batch.seq_id[place][0] = sequence
                batch.logits[place] = position == columns - 1
                place += 1
        if llama.llama_decode(self._context, batch):
            raise SystemExit("llama.cpp could not decode")
        size = (rows, self._setup.shape["vocab_size"])
        return np.ctypeslib.as_array(llama.llama_get_logits(self._context), size).argmax(-1)


if __name__ == "__main__":
    serve(("llama-cpp-python", "gguf"), LlamaCpp)
