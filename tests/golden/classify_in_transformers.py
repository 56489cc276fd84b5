"""Classifies raw texts with transformers' own pipeline and writes down what it answered.

    python tests/golden/classify_in_transformers.py FOLDER... --out result.json

The folders are those of `tests/tasks/task_folders.py`. For each one: the class and settings of
its tokenizer, the ids of texts and pairs, and every label with its score, for single inputs, for
batches and for pairs. Needs torch and transformers (4.57.6 and 5.23.0 were tried), not ogpt.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import transformers

TEXTS = [
    "A good film with a good end",
    "a bad film",
    "What a GOOD story this is, and how bad the end!",
    "bad bad  bad",
    "a _delimiter_ b _classify_",
    "d\u00e9j\u00e0 vu \u6771\u4eac \u2014 it isn't 3.14",
]
PAIRS = [
    {"text": text, "text_pair": TEXTS[(place + 1) % len(TEXTS)]} for place, text in enumerate(TEXTS)
]


def sorted_scores(answer: list[dict[str, Any]]) -> dict[str, float]:
    return {each["label"]: each["score"] for each in sorted(answer, key=lambda one: one["label"])}


def classify(folder: Path) -> dict[str, Any]:
    """What the pipeline of a folder says of TEXTS and PAIRS."""
    pipeline = transformers.pipeline("text-classification", model=str(folder), device="cpu")
    # one call for each input, and batches, which are padded
    answers = {
        "singles": [pipeline(text, top_k=None) for text in TEXTS],
        "batches": pipeline(TEXTS, top_k=None, batch_size=4),
        "pairs": [pipeline(pair, top_k=None) for pair in PAIRS],
        "pair_batches": pipeline(PAIRS, top_k=None, batch_size=4),
    }
    ids = [pipeline.tokenizer(text)["input_ids"] for text in TEXTS]
    ids += [pipeline.tokenizer(pair["text"], pair["text_pair"])["input_ids"] for pair in PAIRS]
    scores = {name: list(map(sorted_scores, found)) for name, found in answers.items()}
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    names = {"class": type(pipeline.tokenizer).__name__, "tokenizer_config": settings}
    return {**names, "ids": ids, **scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folders = {folder.name: classify(folder) for folder in given.folders}
    result = {"transformers": transformers.__version__, "folders": folders}
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
