"""A GPT-2 with random weights as a file of llama.cpp, written with `gguf`.

    python -m benchmarks.peers.gguf_file SHAPE KIND FILE

SHAPE is JSON, and KIND one of f32, bf16 and q8_0.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize

from benchmarks.peers.gpt2_weights import EPSILON, draw
from benchmarks.peers.vocabulary import vocabulary

KINDS = {
    "f32": gguf.GGMLQuantizationType.F32,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
PARTS = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
ROOTS = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def tensor_name(name: str) -> str:
    """Name of a GPT-2 weight in the file."""
    module, _, kind = name.rpartition(".")
    if not module.startswith("h."):
        return f"{ROOTS[module]}.{kind}"
    _, number, part = module.split(".", 2)
    return f"blk.{number}.{PARTS[part]}.{kind}"


def write_file(shape: dict[str, int], kind: str, file: Path) -> None:
    """Write the file; the embedding is also the head.

    Args:
        shape: n_layer, n_head, n_embd, n_positions, vocab_size.
        kind: Of all matrices but the position embeddings, one of KINDS.
        file: Is written.
    """
    writer = gguf.GGUFWriter(file, "gpt2")
    writer.add_context_length(shape["n_positions"])
    writer.add_embedding_length(shape["n_embd"])
    writer.add_feed_forward_length(4 * shape["n_embd"])
    writer.add_block_count(shape["n_layer"])
    writer.add_head_count(shape["n_head"])
    writer.add_layer_norm_eps(EPSILON)
    writer.add_file_type(FILE_TYPES[kind])
    _add_vocabulary(writer, shape["vocab_size"])
    for name, weight in draw(shape).items():
        turned = name.startswith("h.") and weight.ndim == 2  # files keep output x input
        array = np.ascontiguousarray(weight.T) if turned else weight
        of = KINDS[kind] if array.ndim == 2 and name != "wpe.weight" else KINDS["f32"]
        writer.add_tensor(tensor_name(name), quantize(array, of), raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    words, merges = vocabulary(size)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.NORMAL] * size)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_unk_token_id):
        add(0)


if __name__ == "__main__":
    write_file(json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
