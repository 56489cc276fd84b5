"""A folder as OpenAI published it in 2018: arrays and vocabulary, and no configuration."""

from pathlib import Path

import ogpt
from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.tokens.fast import OpenAIGPTTokenizerFast

VOCAB = {"<unk>": 0, "a": 1, "a</w>": 2}
PUBLISHED = ("params_", "encoder_bpe_40000.json", "vocab_40000.bpe")


def openai_folder(place: Path) -> tuple[Path, OpenAIGPTLMHeadModel]:
    """The folder, and the model that its weights are."""
    config = OpenAIGPTConfig(vocab_size=3, n_positions=8, n_embd=8, n_head=1, n_layer=1)
    model = OpenAIGPTLMHeadModel(config).eval()
    model.save_pretrained(place / "hf")
    OpenAIGPTTokenizerFast(vocab=VOCAB, merges=[]).save_pretrained(place / "hf")
    folder = ogpt.convert(place / "hf", place / "openai", to="openai").folder
    for file in folder.iterdir():
        if not file.name.startswith(PUBLISHED):
            file.unlink()
    return folder, model
