"""The card of a model folder (README.md), made from facts and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.layout import CARD_FILE
from ogpt.storage import whole_file
from ogpt.tokens.tokenizer_folder import read_settings
from ogpt.version import __version__
from ogpt.weights.shapes import architecture_of, parameter_count

_NAMED = 8  # sources listed by name
_KINDS = {
    "OpenAIGPTModel": (
        "feature-extraction",
        "A GPT-1 transformer",
        "gives a vector for each token",
    ),
    "OpenAIGPTLMHeadModel": ("text-generation", "A GPT-1 language model", "continues text"),
    "OpenAIGPTDoubleHeadsModel": (
        "text-generation",
        "A GPT-1 model with two heads",
        "continues text and scores the answers to choose from",
    ),
    "OpenAIGPTForSequenceClassification": (
        "text-classification",
        "A GPT-1 classifier",
        "gives a text its label",
    ),
}
_WORDS = {
    "openai": "the rules of 2018 (ftfy, then spaCy's English rules, then lower case)",
    "hf-spacy": "lower case, then ftfy and spaCy's English rules, as in transformers 4",
    "bert": "BERT's rules: lower case, no accents, every punctuation mark a word",
}


def write_card(
    folder: Path,
    facts: Mapping[str, object] | None = None,
    *,
    evaluation: Mapping[str, object] | None = None,
    license: str | None = None,
) -> None:
    """Write the card of a model folder, which holds its configuration already.

    Args:
        folder: The model folder.
        facts: What else is known, row by row, such as `training_facts`.
        evaluation: Name of a measure -> its value.
        license: Identifier on the Hub, such as "mit"; None: the card says that it is not stated.

    Raises:
        CheckpointError: the configuration is missing or damaged.
        ConfigError: it names another architecture.
        TokenizerError: tokenizer_config.json is damaged.
        StorageError: the disk is full or refuses.
    """
    config = OpenAIGPTConfig.from_pretrained(folder)
    architecture = architecture_of(config)
    parameters = parameter_count(config, architecture)
    task, title, does = _KINDS[architecture]
    metadata = {
        **({"license": license} if license else {}),
        "library_name": "ogpt",
        "pipeline_tag": task,
        "tags": ["openai-gpt", "gpt-1"],
    }
    rows = {
        "architecture": architecture,
        "parameters": f"{parameters:,}",
        "shape": (
            f"{config.n_layer} layers, {config.n_embd} channels, {config.n_head} heads, "
            f"{config.n_positions} positions, vocabulary {config.vocab_size:,}"
        ),
        "text becomes words by": _WORDS.get(read_settings(folder).get("pre_tokenizer", "")),
        **(facts or {}),
        **(evaluation or {}),
        "licence": license or "not stated",
        "made with": f"ogpt {__version__}",
    }
    text = (
        f"---\n{_yaml(metadata)}---\n\n"
        f"# {title}\n\n"
        f"The model {does}. Text is read in lower case, and its layout is not kept.\n\n"
        f"| | |\n|---|---|\n{_table(rows)}\n\n"
        "## Use\n\n"
        f"```\nogpt info THIS_FOLDER\n```\n\n"
        f'```python\nimport ogpt\n\ntokenizer, model = ogpt.load("THIS_FOLDER")\n```\n\n'
        f"transformers reads the same files, and text by BERT's rules:\n\n"
        f"```python\nfrom transformers import AutoTokenizer, {architecture}\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")\n'
        f'model = {architecture}.from_pretrained("THIS_FOLDER")\n```\n'
    )
    with whole_file(folder / CARD_FILE) as temporary:
        temporary.write_text(text, "utf-8")


def training_facts(
    settings: PretrainSettings, n_positions: int, sources: Sequence[str], machine: Mapping[str, Any]
) -> dict[str, str]:
    """What a card tells of a pre-training."""
    more = f" and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
    training = settings.training
    return {
        "trained on": ", ".join(sources[:_NAMED]) + more,
        "batch": f"{training.batch_size} windows of {n_positions} tokens",
        "learning rate": f"{training.learning_rate:g}, {training.warmup_steps} steps of warm-up",
        "seed": str(training.seed),
        "machine": ", ".join(f"{name} {value}" for name, value in machine.items()),
    }


def _table(rows: Mapping[str, object]) -> str:
    """Rows of a Markdown table; those without a value are left out."""
    cells = [(name, str(value)) for name, value in rows.items() if value is not None]
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in cells]
    return "\n".join(f"| {name} | {value} |" for name, value in escaped)


def _yaml(metadata: Mapping[str, Any]) -> str:
    """Front matter: JSON's strings and lists are YAML's too."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in metadata.items())
