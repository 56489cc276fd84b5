"""The golden files of transformers 4.57.6: models filled by the formula, and their cases."""

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import ogpt
from ogpt.config.model import OpenAIGPTConfig
from tests.golden.formula import formula

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = {"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2}


@functools.cache
def recorded(framework: str) -> dict[str, Any]:
    """What `pytorch` or `tensorflow` answered, by the name of the model."""
    file = GOLDEN / "transformers_4.57.6" / f"{framework}.json.gz"
    models: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))["models"]
    return models


def filled(kind: str, factors: dict[str, float] | None = None, **settings: Any) -> Any:
    """A model of ours with the weights of the formula, in evaluation mode."""
    model = getattr(ogpt, kind)(OpenAIGPTConfig(**settings)).eval()
    shapes = {name: tensor.shape for name, tensor in model.stored_tensors().items()}
    for name, array in formula(shapes, factors).items():
        model.get_parameter(name).data = torch.from_numpy(array)
    model.tie_weights()
    return model


def golden_model(framework: str, name: str, **settings: Any) -> Any:
    entry = recorded(framework)[name]
    kind = entry["class"].removeprefix("TF")
    model = filled(kind, entry["factors"], **{**entry["config"], **settings})
    assert sorted(model.stored_tensors()) == sorted(entry["parameters"])
    return model


def arguments(framework: str, name: str, case: str) -> dict[str, Any]:
    given = recorded(framework)[name]["cases"][case]["in"]
    return {k: torch.tensor(v) if isinstance(v, list) else v for k, v in given.items()}


def answers(framework: str, name: str, case: str) -> dict[str, Any]:
    """The outputs; attentions one tensor a layer, since pruned layers differ in heads."""
    out = recorded(framework)[name]["cases"][case]["out"]
    return {
        key: tuple(map(torch.tensor, value))
        if key in ("attentions", "scores")
        else torch.tensor(value)
        for key, value in out.items()
    }


def apart(model: Any, given: dict[str, Any], expected: dict[str, Any]) -> dict[str, float]:
    """How far each recorded output is from ours, in units of its largest number."""
    with torch.no_grad():
        out = model(**given)
    found = {}
    for name, value in expected.items():
        last = name == "last_hidden_state" and name not in out
        ours = out.hidden_states[-1] if last else out[name]
        pairs = zip(ours, value, strict=True) if isinstance(value, tuple) else [(ours, value)]
        found[name] = max(distance(mine.double(), theirs.double()) for mine, theirs in pairs)
    return found


def distance(ours: Tensor, expected: Tensor) -> float:
    assert ours.shape == expected.shape, (ours.shape, expected.shape)
    return ((ours - expected).abs().max() / expected.abs().max()).item()
