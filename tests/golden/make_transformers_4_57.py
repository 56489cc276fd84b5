"""Makes the golden files of tests/golden/transformers_4.57.6 by running transformers 4.57.6.

The environment, apart from the project's (TensorFlow and the last version 4 are wanted nowhere
else):

    python -m venv old && . old/bin/activate
    pip install torch==2.13.0 transformers==4.57.6 tensorflow-cpu==2.20.0 tf_keras==2.20.1 h5py
    python tests/golden/make_transformers_4_57.py tests/golden/transformers_4.57.6

Every weight follows one formula (formula.py), so a reader needs the names, not the arrays. What is
made: `pytorch.json.gz` and `tensorflow.json.gz`, what each implementation answers; `tf/*`, files of
the four TensorFlow classes; `bin/*`, files of torch.save as releases from 2019 on left them;
`pruned`, a folder with pruned heads. The README beside this script describes them.
"""

import argparse
import copy
import gzip
import json
import os
import platform
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from formula import formula

TINY = {"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2}
IDS = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [3, 9, 2, 7, 4]]
TYPES = [[0, 1, 2, 1, 0], [3, 3, 1, 1, 0], [1, 0, 5, 0, 1]]
LEFT = [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 1]]
RIGHT = [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]
LEFT_POSITIONS = [[0, 1, 2, 3, 4], [0, 0, 0, 1, 2], [0, 0, 0, 0, 0]]
MASKS = {
    "none": {},
    "right": {"attention_mask": RIGHT},
    "left": {"attention_mask": LEFT},
    "left_positions": {"attention_mask": LEFT, "position_ids": LEFT_POSITIONS},
    "all_masked": {"attention_mask": [[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]]},
    "holes": {"attention_mask": [[1, 0, 1, 1, 0], [0, 1, 0, 1, 1], [1, 1, 0, 0, 1]]},
    "token_types": {"token_type_ids": TYPES},
    "token_types_right": {"token_type_ids": TYPES, "attention_mask": RIGHT},
}
LARGE = {"c_attn.weight": 300.0}
"""Scores far beyond +-1e4: there the causal mask of -1e4 no longer hides the future."""
WIDE = {"mlp.c_fc.weight": 6.0}
"""Activations where the two forms of gelu differ most."""
LONG = {"positions_embed.weight": 8.0, "c_attn.weight": 3.0}
"""Greedy ids that differ when the mask is dropped and when positions count the padding."""
LM_LABELS = [[1, 2, 3, 4, 5], [6, -100, 8, 9, -100], [-100, -100, 2, 7, 4]]
CHOICES = [[[1, 2, 3, 4, 10], [1, 2, 5, 10, 0]], [[6, 7, 10, 0, 0], [6, 8, 9, 4, 10]]]
CHOICES_MASK = [[[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]]
CLS = [[4, 3], [2, 4]]
PADDED = [[5, 6, 7, 0, 0], [0, 0, 5, 6, 7], [5, 0, 6, 0, 0], [0, 0, 0, 0, 0]]
PROMPTS = {"input_ids": [[0, 0, 1, 2, 3], [4, 5, 6, 7, 8]]}
PROMPTS_MASK = {"attention_mask": [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]}


def filled(
    kind: str, settings: Mapping[str, Any], factors: Mapping[str, float] | None = None
) -> Any:
    """A model of the PyTorch class `kind` with the weights of the formula, in eval mode."""
    model = getattr(transformers, kind)(transformers.OpenAIGPTConfig(**copy.deepcopy(settings)))
    weights = formula({name: p.shape for name, p in model.named_parameters()}, factors)
    model.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items()}, strict=False)
    return model.eval()


def plain(value: Any) -> Any:
    """Tensors of both frameworks as lists; a float32 by its shortest decimal."""
    if isinstance(value, torch.Tensor):
        value = (value.float() if value.is_floating_point() else value).detach()
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return np.array([float(str(v)) for v in value.ravel()]).reshape(value.shape).tolist()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [plain(each) for each in value] if isinstance(value, (tuple, list)) else value


class Record:
    """What one implementation answers: models, and for each its cases."""

    def __init__(self, packages: Iterable[str], tensor: Callable[[Any], Any]) -> None:
        self.versions = {"python": platform.python_version()} | {p: version(p) for p in packages}
        self.models: dict[str, Any] = {}
        self.tensor = tensor

    def model(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, Any],
        parameters: Mapping[str, Iterable[int]],
        factors: Mapping[str, float] | None = None,
    ) -> None:
        self.models[name] = {
            "class": kind,
            "config": dict(settings),
            "parameters": {name: list(parameters[name]) for name in sorted(parameters)},
            "factors": dict(factors or {}),
            "cases": {},
        }

    def ask(self, name: str, case: str, model: Any, /, **arguments: Any) -> None:
        """One call of the model; its inputs and whatever it gave, or the error it raised."""
        inputs = {key: self.tensor(value) for key, value in arguments.items()}
        entry: dict[str, Any] = {"in": arguments}
        self.models[name]["cases"][case] = entry
        try:
            with torch.no_grad():
                found = model(**inputs)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            lines = [line for line in str(error).split("\n") if line]
            entry["raised"] = [type(error).__name__, " ".join(lines[:2])]
            return
        entry["out"] = {key: plain(value) for key, value in found.items()}
        for hidden in [key for key in ("hidden_states",) if key in entry["out"]]:
            entry["out"]["last_hidden_state"] = entry["out"].pop(hidden)[-1]

    def generate(self, name: str, case: str, model: Any, arguments: Any, **settings: Any) -> None:
        inputs = {key: self.tensor(value) for key, value in arguments.items()}
        found = model.generate(
            **inputs, **settings, do_sample=False, return_dict_in_generate=True, output_scores=True
        )
        out = {"sequences": plain(found.sequences), "scores": plain(found.scores)}
        if "sequences_scores" in found:
            out["sequences_scores"] = plain(found.sequences_scores)
        self.models[name]["cases"][case] = {"in": arguments, "generate": settings, "out": out}

    def write(self, file: Path) -> None:
        text = json.dumps({"versions": self.versions, "models": self.models}, sort_keys=True)
        with gzip.GzipFile(file, "wb", mtime=0) as stream:
            stream.write(text.encode())


def torch_models(folder: Path) -> None:
    """What the PyTorch classes answer."""
    record = Record(["transformers", "torch", "numpy"], torch.tensor)

    def start(name: str, kind: str, settings: Any, factors: Any = None) -> Any:
        model = filled(kind, settings, factors)
        shapes = {name: p.shape for name, p in model.named_parameters()}
        record.model(name, kind, settings, shapes, factors)
        return model

    show = {"output_attentions": True, "output_hidden_states": True}
    lm = start("lm", "OpenAIGPTLMHeadModel", TINY)
    for case, masks in MASKS.items():
        record.ask("lm", case, lm, input_ids=IDS, **masks, **show)
    record.ask("lm", "labels", lm, input_ids=IDS, labels=LM_LABELS)
    for dtype in (torch.bfloat16, torch.float16):
        name = f"lm_{str(dtype).removeprefix('torch.')}"
        half = start(name, "OpenAIGPTLMHeadModel", TINY).to(dtype)
        for case in ("left", "all_masked"):
            record.ask(name, case, half, input_ids=IDS, **MASKS[case], **show)
    wide = start("lm_gelu", "OpenAIGPTLMHeadModel", TINY, WIDE)
    record.ask("lm_gelu", "none", wide, input_ids=IDS)
    large = start("lm_large", "OpenAIGPTLMHeadModel", TINY, LARGE)
    for case in ("none", "left", "all_masked", "holes"):
        record.ask("lm_large", case, large, input_ids=IDS, **MASKS[case], **show)

    heads = start("lm_heads", "OpenAIGPTLMHeadModel", {**TINY, "n_head": 4})
    for case, mask in {"heads": [1, 0, 0.5, 1], "layers": [[1, 0, 1, 1], [0, 1, 0.5, 0]]}.items():
        mask = [[float(v) for v in row] for row in mask] if case == "layers" else mask
        record.ask("lm_heads", case, heads, input_ids=IDS, head_mask=mask, **show)
    pruned = start("lm_pruned", "OpenAIGPTLMHeadModel", {**TINY, "n_head": 4})
    pruned.prune_heads({0: [1], 1: [0, 2]})
    record.models["lm_pruned"]["pruned_heads"] = pruned.config.to_dict()["pruned_heads"]
    record.ask("lm_pruned", "left", pruned, input_ids=IDS, **MASKS["left"], **show)
    pruned.save_pretrained(folder / "pruned")
    loaded = transformers.OpenAIGPTLMHeadModel.from_pretrained(folder / "pruned").eval()
    record.ask("lm_pruned", "loaded", loaded, input_ids=IDS, **MASKS["left"], **show)

    generation(record, start("lm_long", "OpenAIGPTLMHeadModel", {**TINY, "n_positions": 32}, LONG))
    double_heads(record, start)
    classifiers(record, start)
    record.write(folder / "pytorch.json.gz")


def generation(record: Record, model: Any) -> None:
    """Default lengths, and batches padded on the left, whose positions ignore the mask."""
    short = {"input_ids": [[1, 2, 3]]}
    few = {"max_new_tokens": 6, "pad_token_id": 0}
    record.generate("lm_long", "default_length", model, short)
    record.generate("lm_long", "unpadded", model, short, **few)
    record.generate("lm_long", "left", model, PROMPTS | PROMPTS_MASK, **few)
    record.generate(
        "lm_long",
        "beams",
        model,
        PROMPTS | PROMPTS_MASK,
        num_beams=3,
        num_return_sequences=2,
        **few,
    )


def double_heads(record: Record, start: Callable[..., Any]) -> None:
    kind = "OpenAIGPTDoubleHeadsModel"
    model = start("double", kind, TINY)
    labels = {"labels": CHOICES, "mc_labels": [1, 0]}
    record.ask("double", "losses", model, input_ids=CHOICES, mc_token_ids=CLS, **labels)
    record.ask("double", "last_position", model, input_ids=CHOICES)
    flat = np.reshape(CHOICES_MASK, (4, 5)).tolist()
    record.ask("double", "flat_mask", model, input_ids=CHOICES, attention_mask=flat)
    record.ask("double", "choices_mask", model, input_ids=CHOICES, attention_mask=CHOICES_MASK)
    types = [[[0, 1, 2, 1, 0]] * 2] * 2
    record.ask(
        "double", "token_types", model, input_ids=CHOICES, mc_token_ids=CLS, token_type_ids=types
    )
    record.ask("double", "two_axes", model, input_ids=IDS, mc_token_ids=[4, 2, 0])
    for summary in ("last", "first", "mean"):
        pooled = start(f"double_{summary}", kind, {**TINY, "summary_type": summary})
        record.ask(f"double_{summary}", "two_axes", pooled, input_ids=IDS)
    for name, settings in {
        "tanh": {"summary_activation": "tanh"},
        "gelu": {"summary_activation": "gelu"},
        "hidden": {"summary_proj_to_labels": False},
        "no_projection": {"summary_use_proj": False},
    }.items():
        other = start(f"double_{name}", kind, TINY | settings)
        record.ask(f"double_{name}", "choices", other, input_ids=CHOICES, mc_token_ids=CLS)


def classifiers(record: Record, start: Callable[..., Any]) -> None:
    kind = "OpenAIGPTForSequenceClassification"
    several = [[0.5, -1.0, 2.0], [1.0, 0.0, 0.25], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    marks = [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    for n_labels, problem, labels in (
        (1, "regression", [0.5, -1.0, 2.0, 0.0]),
        (3, "regression", several),
        (3, "single_label_classification", [2, 0, 1, 1]),
        (3, "multi_label_classification", marks),
    ):
        settings = {**TINY, "num_labels": n_labels, "pad_token_id": 0}
        name = f"classifier_{problem}_{n_labels}"
        model = start(name, kind, settings | {"problem_type": problem})
        record.ask(name, "labels", model, input_ids=PADDED, labels=labels)
        unsaid = start(f"{name}_unsaid", kind, settings)
        record.ask(f"{name}_unsaid", "labels", unsaid, input_ids=PADDED, labels=labels)
        record.models[f"{name}_unsaid"]["problem_type_taken"] = unsaid.config.problem_type
    no_pad = start("classifier_no_pad", kind, {**TINY, "num_labels": 3})
    record.ask("classifier_no_pad", "one_row", no_pad, input_ids=PADDED[:1], labels=[1])
    record.ask("classifier_no_pad", "rows", no_pad, input_ids=PADDED)
    embeds = plain(torch.arange(2 * 4 * 8).view(2, 4, 8).div(64))
    pad = start("classifier_embeds", kind, {**TINY, "num_labels": 3, "pad_token_id": 0})
    record.ask("classifier_embeds", "embeds", pad, inputs_embeds=embeds)
    right = [[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    record.ask("classifier_embeds", "masked", pad, input_ids=PADDED, attention_mask=right)


def tensorflow_models(folder: Path) -> None:
    """What the TensorFlow classes answer, and their files."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    from transformers.modeling_tf_pytorch_utils import load_tf2_checkpoint_in_pytorch_model

    packages = ["transformers", "tensorflow", "tf_keras", "h5py", "torch", "numpy"]
    record = Record(
        [p.replace("tensorflow", "tensorflow-cpu") for p in packages],
        lambda value: tf.constant(value) if isinstance(value, list) else value,
    )

    def start(name: str, kind: str, settings: Any, factors: Any = None) -> Any:
        source = filled(kind, settings, factors)
        shapes = {name: p.shape for name, p in source.named_parameters()}
        record.model(name, f"TF{kind}", settings, shapes, factors)
        with tempfile.TemporaryDirectory() as between:
            # a .bin: these TensorFlow classes fail on a single safetensors file
            source.save_pretrained(between, safe_serialization=False)
            return getattr(transformers, f"TF{kind}").from_pretrained(between, from_pt=True)

    def keep(model: Any, kind: str, name: str) -> None:
        """Save the model, and prove the file by reading it back into PyTorch."""
        model.save_pretrained(folder / "tf" / name)
        (folder / "tf" / name / "generation_config.json").unlink(missing_ok=True)
        # from_pretrained(from_tf=True) of this version fills no weights (they are on meta)
        back = getattr(transformers, kind)(copy.deepcopy(model.config))
        load_tf2_checkpoint_in_pytorch_model(back, str(folder / "tf" / name / "tf_model.h5"))
        parameters = dict(back.named_parameters())
        for key, array in formula({n: p.shape for n, p in parameters.items()}).items():
            np.testing.assert_array_equal(parameters[key].detach().numpy(), array, key)

    show = {"output_attentions": True, "output_hidden_states": True}
    base = start("base", "OpenAIGPTModel", TINY)
    record.ask("base", "left", base, input_ids=IDS, **MASKS["left"])
    keep(base, "OpenAIGPTModel", "base")
    lm = start("lm", "OpenAIGPTLMHeadModel", TINY)
    for case, masks in MASKS.items():
        record.ask("lm", case, lm, input_ids=IDS, **masks, **show)
    record.ask("lm", "labels", lm, input_ids=IDS, labels=LM_LABELS)
    record.ask("lm", "head_mask", lm, input_ids=IDS, head_mask=[1.0, 0.0])
    keep(lm, "OpenAIGPTLMHeadModel", "lm")
    relu = start("lm_afn_relu", "OpenAIGPTLMHeadModel", {**TINY, "afn": "relu"})
    record.ask("lm_afn_relu", "none", relu, input_ids=IDS)
    wide = start("lm_gelu", "OpenAIGPTLMHeadModel", TINY, WIDE)
    record.ask("lm_gelu", "none", wide, input_ids=IDS)
    large = start("lm_large", "OpenAIGPTLMHeadModel", TINY, LARGE)
    for case in ("none", "left", "all_masked", "holes"):
        record.ask("lm_large", case, large, input_ids=IDS, **MASKS[case], **show)
    generation(record, start("lm_long", "OpenAIGPTLMHeadModel", {**TINY, "n_positions": 32}, LONG))

    double = start("double", "OpenAIGPTDoubleHeadsModel", TINY)
    record.ask("double", "choices", double, input_ids=CHOICES, mc_token_ids=CLS)
    record.ask("double", "last_position", double, input_ids=CHOICES)
    record.ask("double", "choices_mask", double, input_ids=CHOICES, attention_mask=CHOICES_MASK)
    keep(double, "OpenAIGPTDoubleHeadsModel", "double_heads")

    kind = "OpenAIGPTForSequenceClassification"
    single = start("classifier", kind, {**TINY, "num_labels": 3, "pad_token_id": 0})
    record.ask("classifier", "labels", single, input_ids=PADDED, labels=[2, 0, 1, 1])
    keep(single, kind, "sequence_classification")
    one = start("classifier_regression", kind, {**TINY, "num_labels": 1, "pad_token_id": 0})
    record.ask("classifier_regression", "labels", one, input_ids=PADDED, labels=[0.5, -1.0, 2.0, 0])
    no_pad = start("classifier_no_pad", kind, {**TINY, "num_labels": 3})
    record.ask("classifier_no_pad", "rows", no_pad, input_ids=PADDED)
    record.ask("classifier_no_pad", "labels", no_pad, input_ids=PADDED, labels=[2, 0, 1, 1])
    record.write(folder / "tensorflow.json.gz")


def bin_files(folder: Path) -> None:
    """pytorch_model.bin of both generations of torch.save, with the keys that old releases had."""

    def write(name: str, kind: str, *, zipped: bool, positions: bool) -> None:
        model = filled(kind, TINY)
        prefix = "" if kind == "OpenAIGPTModel" else "transformer."
        state = OrderedDict(model.state_dict())
        triangle = torch.tril(torch.ones(8, 8)).view(1, 1, 8, 8)
        for i in range(TINY["n_layer"]):
            state[f"{prefix}h.{i}.attn.bias"] = triangle.clone()
        if positions:
            state[f"{prefix}position_ids"] = torch.arange(8)
        (folder / name).mkdir(parents=True)
        torch.save(
            state, folder / name / "pytorch_model.bin", _use_new_zipfile_serialization=zipped
        )
        model.config.architectures = [kind]
        model.config.save_pretrained(folder / name)

    write("legacy_bare_2019", "OpenAIGPTModel", zipped=False, positions=False)
    write("legacy_double_heads", "OpenAIGPTDoubleHeadsModel", zipped=False, positions=True)
    write("zip_bare", "OpenAIGPTModel", zipped=True, positions=True)
    write("zip_lm", "OpenAIGPTLMHeadModel", zipped=True, positions=True)
    filled("OpenAIGPTLMHeadModel", TINY).save_pretrained(
        folder / "sharded_lm", safe_serialization=False, max_shard_size="5KB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="an empty or missing folder")
    folder = parser.parse_args().folder
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    torch_models(folder)
    tensorflow_models(folder)
    bin_files(folder / "bin")


if __name__ == "__main__":
    main()
