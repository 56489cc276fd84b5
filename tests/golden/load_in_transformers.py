"""Loads model folders with the transformers of this environment and writes down what it said.

    python tests/golden/load_in_transformers.py FOLDER... --out result.json

For each folder: the class that config.json's `architectures` names; every log record of level
WARNING or higher and every Python warning, while it was loaded and while it was called; the
missing, unexpected and mismatched keys; the outputs for fixed ids, or the error raised; the sha256
of each file. With `--expect silent` the exit status is 1 when the load of any folder had something
to say. Needs torch and transformers (4.57.6 and 5.23.0 were tried), not ogpt.
"""

import argparse
import hashlib
import json
import logging
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import transformers

PACKAGES = ("transformers", "torch", "safetensors", "huggingface_hub", "numpy")
SHOWN = 1000
"""Values written down of one output; the sum covers all of them."""


class Listener(logging.Handler):
    """Keeps what is logged at WARNING and above."""

    def __init__(self, lines: list[dict[str, str]]) -> None:
        super().__init__(logging.WARNING)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line = {"from": record.name, "level": record.levelname, "text": record.getMessage()}
        self.lines.append(line)


@contextmanager
def listening(lines: list[dict[str, str]]) -> Iterator[None]:
    """Everything that is logged or warned of in the block is added to `lines`."""
    once = getattr(transformers.utils.logging, "warning_once", None)
    if hasattr(once, "cache_clear"):
        once.cache_clear()  # or only the first folder would show what is said once a process
    transformers.utils.logging.set_verbosity_warning()
    handler = Listener(lines)
    known = [log for log in logging.root.manager.loggerDict.values() if hasattr(log, "propagate")]
    loggers = [logging.root, *(log for log in known if not log.propagate)]
    for log in loggers:
        log.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            yield
    finally:
        for log in loggers:
            log.removeHandler(handler)
    for each in found:
        lines.append(
            {"from": "warnings", "level": each.category.__name__, "text": str(each.message)}
        )


def sha256(folder: Path) -> dict[str, str]:
    """The hash of each file under the folder, and of the list of them all under the name '.'."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()) for f in files}
    hashes = {name: digest.hexdigest() for name, digest in found.items()}
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
    return {".": hashlib.sha256(listing.encode()).hexdigest()} | hashes


def plain(value: Any) -> Any:
    """Keys of a loading report in an order of their own, shapes as lists."""
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each) for each in value), key=str)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    return value if isinstance(value, (str, int, float, type(None))) else str(value)


def shown(tensor: torch.Tensor) -> dict[str, Any]:
    flat = tensor.detach().double().flatten()
    return {
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "sum": flat.sum().item(),
        "values": flat[:SHOWN].tolist(),
    }


def look(folder: Path) -> dict[str, Any]:
    """Load one folder, call the model once, and report."""
    result: dict[str, Any] = {"sha256": sha256(folder), "loading": [], "calling": []}
    with listening(result["loading"]):
        config = transformers.AutoConfig.from_pretrained(folder)
    if not config.architectures:
        raise SystemExit(f"{folder}: config.json names no architectures")
    kind = getattr(transformers, config.architectures[0])
    result["class"] = kind.__name__
    try:
        with listening(result["loading"]):
            model, report = kind.from_pretrained(folder, output_loading_info=True)
        result["report"] = plain(report)
        result["parameters"] = sum(p.numel() for p in model.parameters())
        ids = torch.arange(1, min(5, config.n_positions) + 1)[None] % config.vocab_size
        if kind.__name__ == "OpenAIGPTDoubleHeadsModel":
            ids = torch.stack([ids, ids.flip(-1)], dim=1)
        result["input_ids"] = ids.tolist()
        with listening(result["calling"]), torch.no_grad():
            outputs = model.eval()(input_ids=ids)
    except (RuntimeError, ValueError, OSError) as error:
        result["raised"] = f"{type(error).__name__}: {error}"
        return result
    result["outputs"] = {k: shown(v) for k, v in outputs.items() if isinstance(v, torch.Tensor)}
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--expect", choices=["silent"], help="what every load has to be")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = {folder.name: look(folder) for folder in given.folders}
    if len(results) < len(given.folders):
        parser.error("two folders have the same name")
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    text = json.dumps({"versions": versions, "folders": results}, indent=1, sort_keys=True)
    given.out.write_text(text + "\n", encoding="utf-8")
    keys = ("missing_keys", "unexpected_keys", "mismatched_keys")
    spoke = [
        name
        for name, each in results.items()
        if "raised" in each or each["loading"] or any(each["report"].get(key) for key in keys)
    ]
    if given.expect and spoke:
        sys.stderr.write(f"not silent: {', '.join(spoke)}\n")
    return int(bool(given.expect and spoke))


if __name__ == "__main__":
    sys.exit(main())
