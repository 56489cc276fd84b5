"""The model card of a model folder (README.md), written from known facts only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ogpt.config.lstm_config import LSTMConfig, read_config
from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.layout import CARD_FILE
from ogpt.storage import whole_file
from ogpt.tokens.tokenizer_folder import read_settings
from ogpt.version import __version__
from ogpt.weights.shapes import architecture_of, parameter_count, written_architecture

_NAMED = 8  # sources listed by name; a corpus may have thousands
_KINDS = {
    "OpenAIGPTModel": (
        "feature-extraction",
        "A GPT-1 transformer",
        "gives a vector per token",
    ),
    "LSTMModel": ("feature-extraction", "An LSTM", "gives a vector per token"),
    "OpenAIGPTLMHeadModel": ("text-generation", "A GPT-1 language model", "continues text"),
    "OpenAIGPTDoubleHeadsModel": (
        "text-generation",
        "A GPT-1 model with two heads",
        "continues text and scores candidate answers",
    ),
    "OpenAIGPTForSequenceClassification": (
        "text-classification",
        "A GPT-1 classifier",
        "labels text",
    ),
}
_WORDS = {
    "openai": "openai: ftfy, spaCy's English rules, then lower case (2018)",
    "hf-spacy": "hf-spacy: lower case, then ftfy and spaCy's English rules (transformers 4)",
    "bert": "bert: lower case without accents; every punctuation mark is a word",
    "bytes": "bytes: byte-level pieces, which keep case, white space and any script",
}


def write_card(
    folder: Path,
    facts: Mapping[str, object] | None = None,
    *,
    evaluation: Mapping[str, object] | None = None,
    license: str | None = None,
    tags: Iterable[str] = (),
) -> None:
    """Write the card of a model folder that already has its configuration.

    Args:
        folder: The model folder.
        facts: Further rows of the table, such as `training_facts`.
        evaluation: Name of a measure -> its value.
        license: Identifier on the Hub, such as "mit"; None: "not stated".
        tags: More tags, after those of the architecture.

    Raises:
        CheckpointError: the configuration is missing or damaged.
        ConfigError: it names another architecture.
        TokenizerError: tokenizer_config.json is damaged.
        StorageError: the disk is full, or writing is not permitted.
    """
    config = read_config(folder)
    architecture = architecture_of(config)
    parameters = parameter_count(config, architecture)
    task, title, does = _KINDS[architecture]
    shape = f"{config.n_layer} layers, {config.n_embd} channels, {config.n_head} heads"
    own = ["openai-gpt", "gpt-1"]
    if isinstance(config, LSTMConfig):
        title = title.replace("A GPT-1", "An LSTM")
        shape = f"1 LSTM layer of {config.lstm_units} units, {config.n_embd} channels"
        own = ["lstm"]
    metadata = {
        **({"license": license} if license else {}),
        "library_name": "ogpt",
        "pipeline_tag": task,
        "tags": list(dict.fromkeys([*own, *tags])),
    }
    pre_tokenizer = read_settings(folder).get("pre_tokenizer", "")
    kept, peer = "It uses lower-case text, and does not keep white space.", "uses BERT's rules"
    if pre_tokenizer == "bytes":
        kept, peer = "It keeps case and white space, of any language.", "gives the same ids"
    rows = {
        "architecture": written_architecture(config, architecture),
        "parameters": f"{parameters:,}",
        "shape": f"{shape}, {config.n_positions} positions, vocabulary {config.vocab_size:,}",
        "pre-tokenization": _WORDS.get(pre_tokenizer),
        **(facts or {}),
        **(evaluation or {}),
        "licence": license or "not stated",
        "written by": f"ogpt {__version__}",
    }
    text = (
        f"---\n{_yaml(metadata)}---\n\n"
        f"# {title}\n\n"
        f"The model {does}. {kept}\n\n"
        f"| | |\n|---|---|\n{_table(rows)}\n\n"
        "## Use\n\n"
        f"```\nogpt info THIS_FOLDER\n```\n\n"
        f'```python\nimport ogpt\n\ntokenizer, model = ogpt.load("THIS_FOLDER")\n```\n\n'
        f"{_in_transformers(config, architecture, peer)}\n"
    )
    with whole_file(folder / CARD_FILE) as temporary:
        temporary.write_text(text, "utf-8")


def _in_transformers(config: OpenAIGPTConfig, architecture: str, peer: str) -> str:
    if config.only_ogpt:
        return f"Use it with ogpt only: {config.only_ogpt}."
    return (
        f"transformers loads the same files; its tokenizer {peer}:\n\n"
        f"```python\nfrom transformers import AutoTokenizer, {architecture}\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")\n'
        f'model = {architecture}.from_pretrained("THIS_FOLDER")\n```'
    )


def training_facts(
    settings: PretrainSettings, n_positions: int, sources: Sequence[str], machine: Mapping[str, Any]
) -> dict[str, str]:
    """Rows of a card about the pre-training."""
    more = f" and {len(sources) - _NAMED} more" if len(sources) > _NAMED else ""
    training = settings.training
    return {
        "trained on": ", ".join(sources[:_NAMED]) + more,
        "batch": f"{training.batch_size} windows of {n_positions} tokens",
        "learning rate": f"{training.learning_rate:g}, {training.warmup_steps} warm-up steps",
        "seed": str(training.seed),
        "machine": ", ".join(f"{name} {value}" for name, value in machine.items()),
    }


def _table(rows: Mapping[str, object]) -> str:
    """Rows of a Markdown table; rows without a value are omitted."""
    cells = [(name, str(value)) for name, value in rows.items() if value is not None]
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in cells]
    return "\n".join(f"| {name} | {value} |" for name, value in escaped)


def _yaml(metadata: Mapping[str, Any]) -> str:
    """Front matter; strings and lists of JSON are valid YAML."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in metadata.items())
