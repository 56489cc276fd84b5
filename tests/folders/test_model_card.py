"""Cards say what is known, and the Hub's own library reads them."""

from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.errors import ConfigError
from ogpt.folders.model_card import training_facts, write_card
from ogpt.tokens.fast import OpenAIGPTTokenizerFast

SHAPE = {"vocab_size": 3, "n_positions": 8, "n_embd": 4, "n_head": 1, "n_layer": 1}


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("OpenAIGPTModel", "feature-extraction"),
        ("OpenAIGPTLMHeadModel", "text-generation"),
        ("OpenAIGPTDoubleHeadsModel", "text-generation"),
        ("OpenAIGPTForSequenceClassification", "text-classification"),
    ],
)
def test_every_model(tmp_path: Path, architecture: str, task: str) -> None:
    OpenAIGPTConfig(**SHAPE, architectures=[architecture]).save_pretrained(tmp_path)
    write_card(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.to_dict() == {
        "library_name": "ogpt",
        "pipeline_tag": task,
        "tags": ["openai-gpt", "gpt-1"],
    }
    assert f"| architecture | {architecture} |" in card.text
    assert f"from transformers import AutoTokenizer, {architecture}" in card.text
    assert "| licence | not stated |" in card.text
    assert "pre-tokenization" not in card.text  # there is no tokenizer


def test_all_facts(tmp_path: Path) -> None:
    OpenAIGPTConfig(**SHAPE).save_pretrained(tmp_path)
    OpenAIGPTTokenizerFast(vocab={"<unk>": 0, "a": 1, "a</w>": 2}, merges=[]).save_pretrained(
        tmp_path
    )
    facts = training_facts(
        PretrainSettings(), 8, [f"book {i}" for i in range(10)], {"device": "cpu", "threads": 2}
    )
    write_card(tmp_path, facts, evaluation={"perplexity | valid": 12.5}, license="mit")
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "mit"
    for row in (
        "parameters | 288",
        "shape | 1 layers, 4 channels, 1 heads, 8 positions, vocabulary 3",
        "trained on | book 0, book 1, book 2, book 3, book 4, book 5, book 6, book 7 and 2 more",
        "batch | ",
        "machine | device cpu, threads 2",
        r"perplexity \| valid | 12.5",
        "licence | mit",
    ):
        assert f"| {row}" in card.text, row
    assert "| pre-tokenization | bert: lower case" in card.text


def test_another_architecture(tmp_path: Path) -> None:
    OpenAIGPTConfig(**SHAPE, architectures=["GPT2Model"]).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="GPT2Model"):
        write_card(tmp_path)
    assert not (tmp_path / "README.md").exists()
