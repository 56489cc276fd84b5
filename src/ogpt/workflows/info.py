"""What a model folder or a run is: `info`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ogpt.folders.model_folder import load_tokenizer, resolve
from ogpt.folders.run_folder import METRICS_FILE, RunFolder, read_events
from ogpt.layout import weights_files
from ogpt.tokens.tokenizer_folder import holds_tokenizer
from ogpt.weights.model_weights import folder_config, open_weights
from ogpt.weights.quantised import quantised_dtype
from ogpt.weights.safetensors_file import WEIGHTS_FILE, open_safetensors
from ogpt.weights.shapes import architecture_of, parameter_count

LAST_FACTS = ("step", "total_steps", "loss", "tokens_per_s", "mfu", "bits_per_byte", "perplexity")


def info(path: str | Path) -> dict[str, Any]:
    """The facts of a model folder or run, as nested plain values that JSON can hold.

    Sections: `model` (its configuration), `weights`, `tokenizer` (None without one); of a run also
    `run` (how far it is), `settings`, and the last `train` and `eval` events. A run without a
    checkpoint has no model yet. No framework is loaded.

    Raises:
        CheckpointError: `path` is no folder, neither model nor run, or damaged.
        DamagedData: metrics.jsonl is.
        ConfigError, TokenizerError, VocabularyMismatch, WeightsError: a part that cannot be read.
    """
    path = Path(path)
    if not RunFolder.is_run(path):
        return _model(resolve(path))
    run = RunFolder.open(path)
    found: dict[str, Any] = {}
    if run.facts["last"] is not None:
        found = _model(resolve(path))
    found["run"] = {name: value for name, value in run.facts.items() if name != "format"}
    found["settings"] = dataclasses.asdict(RunFolder.read_settings(path))
    return found | _last_events(path / METRICS_FILE)


def _model(folder: Path) -> dict[str, Any]:
    config = folder_config(folder)
    quantised = quantised_dtype(config)
    arrays = open_weights(folder) if quantised is None else open_safetensors(folder / WEIGHTS_FILE)
    weights = weights_files(file.name for file in folder.glob("*"))
    tokenizer = load_tokenizer(folder, config) if holds_tokenizer(folder) else None
    return {
        "folder": str(folder),
        "parameters": parameter_count(config, architecture_of(config)),
        "model": json.loads(config.to_json_string()),
        "weights": {
            "format": weights.format,
            "files": list(weights.files),
            "dtype": sorted({array.dtype for array in arrays.values()}),
            "quantised": quantised,
            "arrays": len(arrays),
            "file_bytes": sum((folder / name).stat().st_size for name in weights.files),
        },
        "tokenizer": tokenizer
        and {
            "entries": len(tokenizer),
            "pre_tokenizer": tokenizer.pre_tokenizer,
            "fingerprint": tokenizer.fingerprint,
        },
    }


def _last_events(file: Path) -> dict[str, Any]:
    """The last training report and the last evaluation."""
    last: dict[str, Any] = {}
    for event in read_events(file):
        if event["event"] in ("train", "eval"):
            last[event["event"]] = {name: event[name] for name in LAST_FACTS if name in event}
    return last
