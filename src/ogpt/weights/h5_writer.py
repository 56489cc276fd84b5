"""Write `tf_model.h5` in the layout of transformers 4's TensorFlow models (Keras 2).

Each variable is a dataset in a group for its layer, `transformer/MODEL/transformer/h_._0/attn/
c_attn/weight:0`, and each layer lists its variables. h5_file.py reads such files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ogpt.errors import BackendMissing, ConfigError
from ogpt.notices import tell
from ogpt.storage import whole_file
from ogpt.weights.arrays import Array
from ogpt.weights.names import PREFIX
from ogpt.weights.precision import as_floats

_KERAS = "2.20.1"  # the last version of Keras 2, whose layout this is
_LAYERS = ("score", PREFIX, "multiple_choice_head")
_MODELS = {
    "OpenAIGPTModel": "tf_open_aigpt_model",
    "OpenAIGPTLMHeadModel": "tf_open_aigptlm_head_model",
    "OpenAIGPTDoubleHeadsModel": "tf_open_aigpt_double_heads_model",
    "OpenAIGPTForSequenceClassification": "tf_open_aigpt_for_sequence_classification",
}
"""Keras's names of transformers' classes, by ours."""


def write_h5(file: Path, arrays: Mapping[str, Array], architecture: str) -> None:
    """Write the arrays to a file that transformers' TensorFlow models load.

    The format has no bfloat16: such arrays are written as float32, exactly. Nor has it a
    language-model head: an untied one is left out, with the notice `weights-left-out`.

    Args:
        file: Replaced when all is written.
        arrays: Weights by PyTorch's names.
        architecture: One of ARCHITECTURES, of a transformer.

    Raises:
        BackendMissing: h5py is not installed.
        ConfigError: transformers has no such architecture.
        StorageError: the write fails; the previous content is unchanged.
    """
    try:
        import h5py
    except ImportError as error:
        raise BackendMissing(
            f"writing {file} needs h5py, which is not installed", hint="pip install 'ogpt[h5]'"
        ) from error
    if architecture not in _MODELS:
        raise ConfigError(
            f"the architecture is {architecture!r}; allowed: {', '.join(_MODELS)}",
            hint="extend one of these classes, or write safetensors",
        )
    layers: dict[str, list[tuple[str, str]]] = {layer: [] for layer in _LAYERS}
    left_out = []
    for name in arrays:
        layer, inner = _keras_name(name)
        if layer in layers:
            layers[layer].append((f"{_MODELS[architecture]}/{layer}/{inner}:0", name))
        else:
            left_out.append(name)
    if left_out:
        tell("weights-left-out", format=file.name, names=", ".join(left_out))
    layers = {layer: variables for layer, variables in layers.items() if variables}
    text = h5py.string_dtype()
    with whole_file(file) as temporary, h5py.File(temporary, "w") as root:
        root.attrs["backend"], root.attrs["keras_version"] = "tensorflow", _KERAS
        root.attrs["layer_names"] = np.array([*layers], dtype=text)
        for layer, variables in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = np.array([path for path, _ in variables], dtype=text)
            for path, name in variables:
                data = as_floats(arrays[name])
                if path.endswith("kernel:0"):
                    data = data.T  # dense layers of Keras are (in, out), those of torch (out, in)
                elif re.search(r"\.c_\w+\.bias$", name):
                    data = data[None]  # transformers' TFConv1D has (1, out)
                group[path] = data
        root.create_group("top_level_model_weights").attrs["weight_names"] = np.array([])


def _keras_name(name: str) -> tuple[str, str]:
    """The layer of a weight, and Keras's name of it there."""
    head = name.partition(".")[0]
    layer = head if head in ("multiple_choice_head", "score", "lm_head") else PREFIX
    path, _, end = name.removeprefix(f"{layer}.").rpartition(".")
    if layer != PREFIX:
        end = {"weight": "kernel"}.get(end, end)
    elif ".ln_" in f".{path}":
        end = {"weight": "gamma", "bias": "beta"}[end]
    elif path == "positions_embed":
        end = "embeddings"
    inner = re.sub(r"^h/(\d+)/", r"h_._\1/", path.replace(".", "/"))
    return layer, f"{inner}/{end}".removeprefix("/")
