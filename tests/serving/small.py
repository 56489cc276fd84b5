"""A small model whose words are letters."""

from pathlib import Path

from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from tests.native.models import small_model

_LETTERS = "abcdefgh."
VOCAB = {
    piece: token_id
    for token_id, piece in enumerate(["<unk>", *_LETTERS, *(f"{each}</w>" for each in _LETTERS)])
}


def save_small(folder: Path, seed: int = 3, n_layer: int = 1) -> Path:
    """Write its folder; other seeds have other weights."""
    small_model(seed, vocab_size=len(VOCAB), n_layer=n_layer).save_pretrained(folder)
    OpenAIGPTTokenizerFast(vocab=VOCAB, merges=[]).save_pretrained(folder)
    return folder
