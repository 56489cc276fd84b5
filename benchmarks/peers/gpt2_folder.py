"""A folder of transformers' GPT-2 with random weights, for servers that read such folders."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.numpy import save_file

from benchmarks.peers.gpt2_weights import EPSILON, draw
from benchmarks.peers.vocabulary import UNKNOWN, vocabulary


def write_folder(shape: dict[str, int], folder: Path) -> None:
    """Write configuration, weights and tokenizer.

    Args:
        shape: n_layer, n_head, n_embd, n_positions, vocab_size.
        folder: Is created.
    """
    folder.mkdir(parents=True)
    config = {
        **shape,
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "layer_norm_epsilon": EPSILON,
        "tie_word_embeddings": True,
        "dtype": "float32",
        "torch_dtype": "float32",
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNKNOWN,
        "eos_token": UNKNOWN,
        "model_max_length": shape["n_positions"],
    }
    for name, content in (
        ("config.json", config),
        ("tokenizer.json", _tokenizer(shape["vocab_size"])),
        ("tokenizer_config.json", tokenizer),
    ):
        (folder / name).write_text(json.dumps(content), "utf-8")
    weights = {f"transformer.{name}": weight for name, weight in draw(shape).items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _tokenizer(vocab_size: int) -> dict[str, object]:
    """A word-level BPE of the library `tokenizers`."""
    words, merges = vocabulary(vocab_size)
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "decoder": {"type": "BPEDecoder", "suffix": "</w>"},
        "model": {
            "type": "BPE",
            "unk_token": UNKNOWN,
            "end_of_word_suffix": "</w>",
            "vocab": {word: number for number, word in enumerate(words)},
            "merges": [list(pair) for pair in merges],
        },
    }
