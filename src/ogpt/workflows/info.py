"""`ogpt info`: shape, weights, tokenizer and training of a model folder or a run."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.errors import VocabularyMismatch
from ogpt.folders.model_folder import ModelFolder, check_vocabulary
from ogpt.folders.run_folder import METRICS_FILE, RunFolder, read_events
from ogpt.layout import WEIGHTS_FILE
from ogpt.notices import tell
from ogpt.weights.safetensors_file import open_safetensors
from ogpt.weights.shapes import parameter_count

LAST_FACTS = ("step", "total_steps", "loss", "tokens_per_s", "mfu", "bits_per_byte", "perplexity")


def info(path: str | Path | ModelFolder) -> dict[str, Any]:
    """Describe a model folder or a run, as nested values that JSON can hold.

    Sections: `model` (its configuration), `weights`, `tokenizer` (None without one; with a `fault`
    and the notice `tokenizer-unfit` if it is not the model's), `labels` (of a classifier). A run
    also has `run` (its progress), `settings`, and the last `train` and `eval` events; a run without
    a checkpoint has no model yet. No framework is loaded.

    Args:
        path: A model folder, a run, or an id of the Hub.

    Raises:
        CheckpointError: `path` is no folder, is neither a model nor a run, or is damaged.
        DamagedData: metrics.jsonl is damaged.
        ConfigError, TokenizerError, WeightsError: a part that cannot be read.
    """
    if isinstance(path, ModelFolder) or not RunFolder.is_run(Path(path)):
        return _model(ModelFolder.open(path))
    path = Path(path)
    run = RunFolder.open(path)
    found: dict[str, Any] = {}
    if run.facts["last"] is not None:
        found = _model(ModelFolder.open(path))
    found["run"] = {name: value for name, value in run.facts.items() if name != "format"}
    found["settings"] = dataclasses.asdict(RunFolder.read_settings(path, PretrainSettings))
    return found | _last_events(path / METRICS_FILE)


def _model(folder: ModelFolder) -> dict[str, Any]:
    # of a quantized folder the arrays as they are stored, not the weights that they stand for
    stored = folder.path / WEIGHTS_FILE
    arrays = folder.weights if folder.quantized is None else open_safetensors(stored)
    classifies = folder.architecture == "OpenAIGPTForSequenceClassification"
    return {
        "folder": str(folder.path),
        "parameters": parameter_count(folder.config, folder.architecture),
        "model": json.loads(folder.config.to_json_string()),
        **({"labels": folder.labels} if classifies else {}),
        "weights": {
            "format": folder.files.format,
            "files": list(folder.files.files),
            "dtype": sorted({array.dtype for array in arrays.values()}),
            "quantized": folder.quantized,
            "arrays": len(arrays),
            "file_bytes": folder.weights_bytes,
        },
        "tokenizer": _tokenizer(folder) if folder.has_tokenizer else None,
    }


def _tokenizer(folder: ModelFolder) -> dict[str, Any]:
    try:
        tokenizer = folder.saved_tokenizer
        check_vocabulary(tokenizer, folder.config, folder.path)
        fault = None
    except VocabularyMismatch as error:
        fault = str(error)
        tell("tokenizer-unfit", reason=fault)
    return {
        "entries": len(tokenizer),
        "pre_tokenizer": tokenizer.pre_tokenizer,
        "fingerprint": tokenizer.fingerprint,
        **({"fault": fault} if fault else {}),
    }


def _last_events(file: Path) -> dict[str, Any]:
    """The last training report and the last evaluation."""
    last: dict[str, Any] = {}
    for event in read_events(file):
        if event["event"] in ("train", "eval"):
            last[event["event"]] = {name: event[name] for name in LAST_FACTS if name in event}
    return last
