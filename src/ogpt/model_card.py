"""The card of a model folder (README.md), made from the run's facts and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.run import PretrainSettings
from ogpt.data.manifest import Manifest
from ogpt.training.measures import parameter_count
from ogpt.version import __version__

CARD_FILE = "README.md"

_NAMED = 8  # sources listed by name


def write_card(
    folder: Path,
    config: OpenAIGPTConfig,
    settings: PretrainSettings,
    manifest: Manifest,
    machine: Mapping[str, Any],
) -> None:
    """Write the card of a pre-trained model into its folder."""
    names = [str(source["name"]) for source in manifest.inputs["data"]]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    sources = ", ".join(names[:_NAMED]) + more
    training = settings.training
    rows = [
        ("parameters", f"{parameter_count(config):,}"),
        (
            "shape",
            f"{config.n_layer} layers, {config.n_embd} channels, {config.n_head} heads, "
            f"{config.n_positions} positions, vocabulary {config.vocab_size:,}",
        ),
        ("trained on", sources),
        ("batch", f"{training.batch_size} windows of {config.n_positions} tokens"),
        ("learning rate", f"{training.learning_rate:g}, {training.warmup_steps} steps of warm-up"),
        ("seed", str(training.seed)),
        ("machine", ", ".join(f"{name} {value}" for name, value in machine.items())),
        ("made with", f"ogpt {__version__}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    text = (
        "---\nlibrary_name: ogpt\npipeline_tag: text-generation\ntags:\n- openai-gpt\n---\n\n"
        "# A GPT-1 language model\n\n"
        "Pre-trained from scratch or further trained by `ogpt pretrain`; it continues text. "
        "Text is read in lower case, and its layout is not kept.\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        '```\nogpt generate THIS_FOLDER "some text"\n```\n'
    )
    (folder / CARD_FILE).write_text(text, "utf-8")
