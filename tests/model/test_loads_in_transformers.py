"""Folders that ogpt writes load in transformers without a warning, and give the same outputs."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.golden.make_folders import FOLDERS, build, make

GOLDEN = Path(__file__).parents[1] / "golden"
SCRIPT = GOLDEN / "load_in_transformers.py"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make(tmp_path_factory.mktemp("folders"))


def load(folders: list[Path], out: Path) -> tuple[int, dict[str, Any]]:
    """What the transformers installed here says of the folders."""
    command = [sys.executable, str(SCRIPT), *map(str, folders), "--out", str(out)]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([*command, "--expect", "silent"], env=quiet, capture_output=True)
    return done.returncode, json.loads(out.read_text("utf-8"))


def worst(name: str, result: dict[str, Any], faulty: bool = False) -> float:
    """The largest difference between its outputs and ours."""
    model = build(name)
    if faulty:
        with torch.no_grad():
            model.base_model.get_parameter("h.1.ln_2.bias").add_(0.01)
    with torch.no_grad():
        ours = model(torch.tensor(result["input_ids"]))
    differences = []
    for key, told in result["outputs"].items():
        flat = ours[key].flatten().double().numpy()
        assert list(ours[key].shape) == told["shape"]
        differences.append(np.abs(flat[: len(told["values"])] - told["values"]).max())
    return float(max(differences))


def test_the_transformers_installed_here(folders: list[Path], tmp_path: Path) -> None:
    status, results = load(folders, tmp_path / "result.json")
    assert status == 0, results
    for name in FOLDERS:
        assert worst(name, results["folders"][name]) < 1e-5
        assert worst(name, results["folders"][name], faulty=True) > 1e-5


def test_transformers_4_57_6(folders: list[Path]) -> None:
    golden = json.loads((GOLDEN / "loaded_4.57.6.json").read_text("utf-8"))
    assert golden["versions"]["transformers"] == "4.57.6"
    script = runpy.run_path(str(SCRIPT))
    for folder in folders:
        result = golden["folders"][folder.name]
        # the very files that version 4.57.6 was given; else make the result again (make_folders.py)
        assert script["sha256"](folder) == result["sha256"]
        assert not result["loading"]
        assert not any(result["report"].values())
        assert worst(folder.name, result) < 1e-5
        assert worst(folder.name, result, faulty=True) > 1e-5


def test_pruned_heads_are_beyond_transformers_5(tmp_path: Path) -> None:
    model = build("lm")
    model.prune_heads({0: [1]})
    model.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        transformers.OpenAIGPTLMHeadModel.from_pretrained(tmp_path)


def test_a_folder_that_makes_transformers_speak(folders: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    model = build("lm")
    model.save_pretrained(damaged)
    config = json.loads((damaged / "config.json").read_text("utf-8"))
    config["architectures"] = ["OpenAIGPTDoubleHeadsModel"]  # whose head the file has not
    (damaged / "config.json").write_text(json.dumps(config), "utf-8")
    status, results = load([damaged], tmp_path / "result.json")
    assert status == 1
    assert results["folders"]["damaged"]["report"]["missing_keys"]
