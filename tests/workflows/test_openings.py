"""A call opens a model folder once: configuration, tokenizer and weights are each read once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import ogpt
from ogpt.config.described import keep_fields
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding import options
from ogpt.errors import OgptError
from ogpt.generation.choosing import settings as choosing_settings
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.tokens.fast import OpenAIGPTTokenizerFast

CALLS = (
    "ogpt.generate(folder, 'a b', max_new_tokens=2, threads=1, decoder='native')",
    "ogpt.generate(folder, 'a b', max_new_tokens=2, threads=1, decoder='torch')",
    "ogpt.score(folder, 'a b a', threads=1)",
    "ogpt.evaluate(folder, text='a b a', threads=1)",
    "ogpt.load(folder)",
    "ogpt.info(folder)",
    "ogpt.pipeline('text-generation', folder)('a', max_new_tokens=2)",
)
SHARED = f"""
model = ogpt.ModelFolder.open(folder)
{"; ".join(CALLS).replace("folder", "model")}
"""
COUNTED = """
import json, os, sys
from collections import Counter
import ogpt
from ogpt.weights import model_weights
folder, counts = sys.argv[1], Counter()
def count(event, arguments):
    if event == "open" and os.path.dirname(str(arguments[0])) == folder:
        counts[os.path.basename(str(arguments[0]))] += 1
sys.addaudithook(count)
read = model_weights._READERS["model.safetensors"]  # which opens the file again for each array
def opens(file):
    counts["weights"] += 1
    return read(file)
model_weights._READERS["model.safetensors"] = opens
for call in json.loads(sys.argv[2]):
    counts.clear()
    exec(call)
    print("counts", json.dumps(counts))
"""
ONCE = {"config.json": 1, "weights": 1, "merges.txt": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vocab = {piece: number for number, piece in enumerate(["<unk>", "a</w>", "b</w>"])}
    OpenAIGPTTokenizerFast(vocab=vocab, merges=[]).save_pretrained(tmp_path)
    config = OpenAIGPTConfig(vocab_size=3, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
    return tmp_path


def opened(folder: Path, calls: tuple[str, ...]) -> list[Counter[str]]:
    """For each call: how many times it opened the weights, and each file of the folder."""
    command = [sys.executable, "-c", COUNTED, str(folder), json.dumps(calls)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("counts ")]
    return [Counter(json.loads(line.removeprefix("counts "))) for line in lines]


def test_a_call_opens_a_folder_once_and_several_can_share_one(folder: Path) -> None:
    found = opened(folder, (*CALLS, SHARED))
    for call, counts in zip((*CALLS, SHARED), found, strict=True):
        assert {name: counts[name] for name in ONCE} == ONCE, call


def test_labels_of_a_classifier(folder: Path) -> None:
    import ogpt

    sizes = {"vocab_size": 3, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 1}
    config = OpenAIGPTConfig(**sizes, id2label={0: "no", 1: "yes"})
    OpenAIGPTForSequenceClassification(config).save_pretrained(folder)
    assert ogpt.info(folder)["labels"] == ["no", "yes"]


def test_settings_and_options_are_checked_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = Counter[str]()

    def counting(settings: object, error: type[OgptError]) -> None:
        checked[type(settings).__name__] += 1
        keep_fields(settings, error)

    monkeypatch.setattr(choosing_settings, "keep_fields", counting)
    monkeypatch.setattr(options, "keep_fields", counting)
    ogpt.generate(folder, "a b", max_new_tokens=2, threads=1, decoder="native", ban=["b"])
    assert checked == {"GenerationSettings": 1, "DecoderOptions": 1}
