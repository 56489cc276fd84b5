"""The public names and arguments of transformers' model, configuration and output classes.

`python model_surface.py FILE` records those of the transformers of the environment, such as
model_surface_4.57.6.json.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from pathlib import Path

from tests.golden.tokenizer_surface import Surface, surface

MODELS = (
    "OpenAIGPTModel",
    "OpenAIGPTLMHeadModel",
    "OpenAIGPTDoubleHeadsModel",
    "OpenAIGPTForSequenceClassification",
)
OUTPUTS = ("BaseModelOutput", "CausalLMOutput", "SequenceClassifierOutput")


def of_transformers() -> dict[str, Surface]:
    """The surface of the installed version, without what torch and Python give every class."""
    import transformers
    from torch import nn
    from transformers import generation, modeling_outputs
    from transformers.models.openai import modeling_openai

    of_module, of_dict = set(dir(nn.Module)) - {"forward"}, set(dir(OrderedDict))
    base = surface([transformers.PreTrainedModel])
    mixin = surface([generation.GenerationMixin])
    found = {"PreTrainedModel": without(base, of_module), "GenerationMixin": mixin}
    for name in MODELS:
        whole = surface([getattr(transformers, name)])
        found[name] = without(whole, of_module | set(mixin) | changed_by(whole, base))
    found["OpenAIGPTConfig"] = surface([transformers.OpenAIGPTConfig])
    outputs = [getattr(modeling_outputs, name) for name in OUTPUTS]
    outputs.append(modeling_openai.OpenAIGPTDoubleHeadsModelOutput)
    for kind in outputs:
        found[kind.__name__] = without(surface([kind]), of_dict)
        found[kind.__name__] |= dict.fromkeys(kind.__dataclass_fields__)
    return found


def without(found: Surface, names: set[str]) -> Surface:
    return {name: member for name, member in found.items() if name not in names}


def changed_by(whole: Surface, base: Surface) -> set[str]:
    """Names that a class takes over from its base."""
    return {name for name, member in whole.items() if base.get(name, ...) == member}


if __name__ == "__main__":
    text = json.dumps(of_transformers(), indent=1, sort_keys=True)
    Path(sys.argv[1]).write_text(text + "\n", "utf-8")
