"""The whole OpenAI GPT (GPT-1, 2018) system: tokenise, pre-train, fine-tune, generate, serve.

Names load on first use, so that `import ogpt` is quick and loads no framework:

    ogpt.demo                train a small GPT on Python's own documentation
    ogpt.train_tokenizer     learn a vocabulary and its merges
    ogpt.prepare             text -> shards of token ids
    ogpt.pretrain, ogpt.plan train a language model; what that would take
    ogpt.generate            write on from a prompt; generate_file: from every row of a file
    ogpt.pipeline            texts -> continuations, labels or features, as transformers' pipelines
    ogpt.evaluate            loss, perplexity and bits per byte of a text
    ogpt.score               log-probabilities of a text, or of choices that follow it
    ogpt.quantize            a model folder -> one of 8 or 4 bits, and what that costs
    ogpt.load                a model folder or Hub id -> (tokenizer, model)
    ogpt.convert             any checkpoint -> a model folder, or OpenAI's files
    ogpt.push_to_hub         a model folder or run -> the Hugging Face Hub
    ogpt.info, ogpt.doctor   what a model or run is; what this machine offers
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ogpt.version import __version__

if TYPE_CHECKING:
    from ogpt import errors as errors
    from ogpt import notices as notices
    from ogpt.bundle import add_pad_token as add_pad_token
    from ogpt.bundle import load as load
    from ogpt.bundle import push_to_hub as push_to_hub
    from ogpt.config.model import OpenAIGPTConfig as OpenAIGPTConfig
    from ogpt.config.parity import Parity as Parity
    from ogpt.converting import convert as convert
    from ogpt.data.prepare import prepare as prepare
    from ogpt.data.tokenizer_training import train_tokenizer as train_tokenizer
    from ogpt.describing import info as info
    from ogpt.diagnosing import doctor as doctor
    from ogpt.evaluation import perplexity as evaluate
    from ogpt.generating import generate as generate
    from ogpt.generating import generate_file as generate_file
    from ogpt.generation.settings import GenerationSettings as GenerationSettings
    from ogpt.model.classification import (
        OpenAIGPTForSequenceClassification as OpenAIGPTForSequenceClassification,
    )
    from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel as OpenAIGPTDoubleHeadsModel
    from ogpt.model.heads import OpenAIGPTLMHeadModel as OpenAIGPTLMHeadModel
    from ogpt.model.outputs import BaseModelOutput as BaseModelOutput
    from ogpt.model.outputs import CausalLMOutput as CausalLMOutput
    from ogpt.model.outputs import GenerateBeamDecoderOnlyOutput as GenerateBeamDecoderOnlyOutput
    from ogpt.model.outputs import GenerateDecoderOnlyOutput as GenerateDecoderOnlyOutput
    from ogpt.model.outputs import (
        OpenAIGPTDoubleHeadsModelOutput as OpenAIGPTDoubleHeadsModelOutput,
    )
    from ogpt.model.outputs import SequenceClassifierOutput as SequenceClassifierOutput
    from ogpt.model.pretrained import OpenAIGPTPreTrainedModel as OpenAIGPTPreTrainedModel
    from ogpt.model.transformer import OpenAIGPTModel as OpenAIGPTModel
    from ogpt.pipelines.opening import pipeline as pipeline
    from ogpt.pretraining import plan as plan
    from ogpt.pretraining import pretrain as pretrain
    from ogpt.quantising import quantize as quantize
    from ogpt.recipes.demo import demo as demo
    from ogpt.scoring import score as score
    from ogpt.tokens.fast import OpenAIGPTTokenizerFast as OpenAIGPTTokenizerFast
    from ogpt.tokens.tokenizer import OpenAIGPTTokenizer as OpenAIGPTTokenizer

_HOMES = {
    "BaseModelOutput": "ogpt.model.outputs:BaseModelOutput",
    "CausalLMOutput": "ogpt.model.outputs:CausalLMOutput",
    "GenerateBeamDecoderOnlyOutput": "ogpt.model.outputs:GenerateBeamDecoderOnlyOutput",
    "GenerateDecoderOnlyOutput": "ogpt.model.outputs:GenerateDecoderOnlyOutput",
    "GenerationSettings": "ogpt.generation.settings:GenerationSettings",
    "OpenAIGPTConfig": "ogpt.config.model:OpenAIGPTConfig",
    "OpenAIGPTDoubleHeadsModel": "ogpt.model.double_heads:OpenAIGPTDoubleHeadsModel",
    "OpenAIGPTDoubleHeadsModelOutput": "ogpt.model.outputs:OpenAIGPTDoubleHeadsModelOutput",
    "OpenAIGPTForSequenceClassification": (
        "ogpt.model.classification:OpenAIGPTForSequenceClassification"
    ),
    "OpenAIGPTLMHeadModel": "ogpt.model.heads:OpenAIGPTLMHeadModel",
    "OpenAIGPTModel": "ogpt.model.transformer:OpenAIGPTModel",
    "OpenAIGPTPreTrainedModel": "ogpt.model.pretrained:OpenAIGPTPreTrainedModel",
    "OpenAIGPTTokenizer": "ogpt.tokens.tokenizer:OpenAIGPTTokenizer",
    "OpenAIGPTTokenizerFast": "ogpt.tokens.fast:OpenAIGPTTokenizerFast",
    "Parity": "ogpt.config.parity:Parity",
    "SequenceClassifierOutput": "ogpt.model.outputs:SequenceClassifierOutput",
    "add_pad_token": "ogpt.bundle:add_pad_token",
    "convert": "ogpt.converting:convert",
    "demo": "ogpt.recipes.demo:demo",
    "doctor": "ogpt.diagnosing:doctor",
    "errors": "ogpt.errors",
    "evaluate": "ogpt.evaluation:perplexity",
    "generate": "ogpt.generating:generate",
    "generate_file": "ogpt.generating:generate_file",
    "info": "ogpt.describing:info",
    "load": "ogpt.bundle:load",
    "notices": "ogpt.notices",
    "pipeline": "ogpt.pipelines.opening:pipeline",
    "plan": "ogpt.pretraining:plan",
    "prepare": "ogpt.data.prepare:prepare",
    "pretrain": "ogpt.pretraining:pretrain",
    "push_to_hub": "ogpt.bundle:push_to_hub",
    "quantize": "ogpt.quantising:quantize",
    "score": "ogpt.scoring:score",
    "train_tokenizer": "ogpt.data.tokenizer_training:train_tokenizer",
}
"""Where each public name lives: `module:name`, or a module itself."""

__all__ = [
    "BaseModelOutput",
    "CausalLMOutput",
    "GenerateBeamDecoderOnlyOutput",
    "GenerateDecoderOnlyOutput",
    "GenerationSettings",
    "OpenAIGPTConfig",
    "OpenAIGPTDoubleHeadsModel",
    "OpenAIGPTDoubleHeadsModelOutput",
    "OpenAIGPTForSequenceClassification",
    "OpenAIGPTLMHeadModel",
    "OpenAIGPTModel",
    "OpenAIGPTPreTrainedModel",
    "OpenAIGPTTokenizer",
    "OpenAIGPTTokenizerFast",
    "Parity",
    "SequenceClassifierOutput",
    "__version__",
    "add_pad_token",
    "convert",
    "demo",
    "doctor",
    "errors",
    "evaluate",
    "generate",
    "generate_file",
    "info",
    "load",
    "notices",
    "pipeline",
    "plan",
    "prepare",
    "pretrain",
    "push_to_hub",
    "quantize",
    "score",
    "train_tokenizer",
]


def __getattr__(name: str) -> Any:
    home, _, item = _HOMES.get(name, "").partition(":")
    if not home:
        raise AttributeError(f"module 'ogpt' has no attribute {name!r}")
    module = import_module(home)
    value = getattr(module, item) if item else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
