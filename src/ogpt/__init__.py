"""OpenAI GPT (GPT-1, 2018): tokenize, pre-train, generate, score, quantize, convert.

Names load on first use, so that `import ogpt` is fast and loads no framework:

    ogpt.demo                train a small GPT on Python's own documentation
    ogpt.train_tokenizer     train a BPE tokenizer on text
    ogpt.prepare             tokenize text into shards
    ogpt.pretrain, ogpt.plan pre-train a language model; estimate its cost
    ogpt.finetune            fine-tune a model on a task with labels
    ogpt.finetune_sweep      the same with several seeds and settings
    ogpt.finetune_plan       estimate the cost of both
    ogpt.reproduce           a table or figure of the paper, beside the paper's scores
    ogpt.reproduce_plan      estimate its cost
    ogpt.generate            generate text from a prompt; generate_file: from every row of a file
    ogpt.score               log-probability of a text, or of candidate continuations
    ogpt.evaluate            perplexity on a text, or scores of a task
    ogpt.evaluate_probes     the paper's zero-shot probes of a language model
    ogpt.predict             labels of examples by a fine-tuned model
    ogpt.pipeline            continuations, labels or features of texts, as transformers' pipelines
    ogpt.serve               models over HTTP, in the shapes of OpenAI's API
    ogpt.export_documents    documents of a server to a file; import_documents: from one
    ogpt.load                tokenizer and PyTorch model of a model folder or Hub id
    ogpt.convert             a checkpoint to a model folder or OpenAI's files
    ogpt.quantize            a model to 8 or 4 bits, and the change in loss
    ogpt.push_to_hub         a model folder or run to the Hugging Face Hub
    ogpt.info, ogpt.doctor   describe a model or run; check this machine

`GenerationSettings` and `DecoderOptions` hold all settings of generating, `ServerSettings` those of
the server; `ModelFolder` is a model opened once, for several calls.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ogpt.version import __version__

if TYPE_CHECKING:
    from ogpt import errors as errors
    from ogpt import notices as notices
    from ogpt.config.lstm_config import LSTMConfig as LSTMConfig
    from ogpt.config.model import OpenAIGPTConfig as OpenAIGPTConfig
    from ogpt.config.parity import Parity as Parity
    from ogpt.decoding.options import DecoderOptions as DecoderOptions
    from ogpt.folders.model_folder import ModelFolder as ModelFolder
    from ogpt.generation.choosing.generation_config import GenerationConfig as GenerationConfig
    from ogpt.generation.choosing.settings import GenerationSettings as GenerationSettings
    from ogpt.generation.choosing.watermarking_config import (
        SynthIDTextWatermarkingConfig as SynthIDTextWatermarkingConfig,
    )
    from ogpt.generation.choosing.watermarking_config import (
        WatermarkingConfig as WatermarkingConfig,
    )
    from ogpt.model.classification import (
        OpenAIGPTForSequenceClassification as OpenAIGPTForSequenceClassification,
    )
    from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel as OpenAIGPTDoubleHeadsModel
    from ogpt.model.heads import OpenAIGPTLMHeadModel as OpenAIGPTLMHeadModel
    from ogpt.model.lstm import LSTMModel as LSTMModel
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
    from ogpt.pipelines.pipeline import pipeline as pipeline
    from ogpt.recipes.demo import demo as demo
    from ogpt.serving.export_documents import export_documents as export_documents
    from ogpt.serving.import_documents import import_documents as import_documents
    from ogpt.serving.serve import serve as serve
    from ogpt.serving.server_settings import ServerSettings as ServerSettings
    from ogpt.tf.classification import (
        TFOpenAIGPTForSequenceClassification as TFOpenAIGPTForSequenceClassification,
    )
    from ogpt.tf.double_heads import TFOpenAIGPTDoubleHeadsModel as TFOpenAIGPTDoubleHeadsModel
    from ogpt.tf.heads import TFOpenAIGPTLMHeadModel as TFOpenAIGPTLMHeadModel
    from ogpt.tf.outputs import TFBaseModelOutput as TFBaseModelOutput
    from ogpt.tf.outputs import TFCausalLMOutput as TFCausalLMOutput
    from ogpt.tf.outputs import TFGenerateBeamDecoderOnlyOutput as TFGenerateBeamDecoderOnlyOutput
    from ogpt.tf.outputs import TFGenerateDecoderOnlyOutput as TFGenerateDecoderOnlyOutput
    from ogpt.tf.outputs import (
        TFOpenAIGPTDoubleHeadsModelOutput as TFOpenAIGPTDoubleHeadsModelOutput,
    )
    from ogpt.tf.outputs import TFSequenceClassifierOutput as TFSequenceClassifierOutput
    from ogpt.tf.pretrained import TFOpenAIGPTPreTrainedModel as TFOpenAIGPTPreTrainedModel
    from ogpt.tf.transformer import TFOpenAIGPTMainLayer as TFOpenAIGPTMainLayer
    from ogpt.tf.transformer import TFOpenAIGPTModel as TFOpenAIGPTModel
    from ogpt.tokens.fast import OpenAIGPTTokenizerFast as OpenAIGPTTokenizerFast
    from ogpt.tokens.tokenizer import OpenAIGPTTokenizer as OpenAIGPTTokenizer
    from ogpt.workflows.add_pad_token import add_pad_token as add_pad_token
    from ogpt.workflows.convert import convert as convert
    from ogpt.workflows.doctor import doctor as doctor
    from ogpt.workflows.evaluate import evaluate as evaluate
    from ogpt.workflows.evaluate_probes import evaluate_probes as evaluate_probes
    from ogpt.workflows.finetune import finetune as finetune
    from ogpt.workflows.finetune_plan import finetune_plan as finetune_plan
    from ogpt.workflows.finetune_sweep import finetune_sweep as finetune_sweep
    from ogpt.workflows.generate import generate as generate
    from ogpt.workflows.generate import generate_file as generate_file
    from ogpt.workflows.info import info as info
    from ogpt.workflows.load import load as load
    from ogpt.workflows.plan import plan as plan
    from ogpt.workflows.predict import predict as predict
    from ogpt.workflows.prepare import prepare as prepare
    from ogpt.workflows.pretrain import pretrain as pretrain
    from ogpt.workflows.push_to_hub import push_to_hub as push_to_hub
    from ogpt.workflows.quantize import quantize as quantize
    from ogpt.workflows.reproduce import reproduce as reproduce
    from ogpt.workflows.reproduce_plan import reproduce_plan as reproduce_plan
    from ogpt.workflows.score import score as score
    from ogpt.workflows.train_tokenizer import train_tokenizer as train_tokenizer

_HOMES = {
    "BaseModelOutput": "ogpt.model.outputs:BaseModelOutput",
    "CausalLMOutput": "ogpt.model.outputs:CausalLMOutput",
    "DecoderOptions": "ogpt.decoding.options:DecoderOptions",
    "GenerateBeamDecoderOnlyOutput": "ogpt.model.outputs:GenerateBeamDecoderOnlyOutput",
    "GenerateDecoderOnlyOutput": "ogpt.model.outputs:GenerateDecoderOnlyOutput",
    "GenerationConfig": "ogpt.generation.choosing.generation_config:GenerationConfig",
    "GenerationSettings": "ogpt.generation.choosing.settings:GenerationSettings",
    "LSTMConfig": "ogpt.config.lstm_config:LSTMConfig",
    "LSTMModel": "ogpt.model.lstm:LSTMModel",
    "ModelFolder": "ogpt.folders.model_folder:ModelFolder",
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
    "ServerSettings": "ogpt.serving.server_settings:ServerSettings",
    "SynthIDTextWatermarkingConfig": (
        "ogpt.generation.choosing.watermarking_config:SynthIDTextWatermarkingConfig"
    ),
    "TFBaseModelOutput": "ogpt.tf.outputs:TFBaseModelOutput",
    "TFCausalLMOutput": "ogpt.tf.outputs:TFCausalLMOutput",
    "TFGenerateBeamDecoderOnlyOutput": "ogpt.tf.outputs:TFGenerateBeamDecoderOnlyOutput",
    "TFGenerateDecoderOnlyOutput": "ogpt.tf.outputs:TFGenerateDecoderOnlyOutput",
    "TFOpenAIGPTDoubleHeadsModel": "ogpt.tf.double_heads:TFOpenAIGPTDoubleHeadsModel",
    "TFOpenAIGPTDoubleHeadsModelOutput": "ogpt.tf.outputs:TFOpenAIGPTDoubleHeadsModelOutput",
    "TFOpenAIGPTForSequenceClassification": (
        "ogpt.tf.classification:TFOpenAIGPTForSequenceClassification"
    ),
    "TFOpenAIGPTLMHeadModel": "ogpt.tf.heads:TFOpenAIGPTLMHeadModel",
    "TFOpenAIGPTMainLayer": "ogpt.tf.transformer:TFOpenAIGPTMainLayer",
    "TFOpenAIGPTModel": "ogpt.tf.transformer:TFOpenAIGPTModel",
    "TFOpenAIGPTPreTrainedModel": "ogpt.tf.pretrained:TFOpenAIGPTPreTrainedModel",
    "TFSequenceClassifierOutput": "ogpt.tf.outputs:TFSequenceClassifierOutput",
    "WatermarkingConfig": "ogpt.generation.choosing.watermarking_config:WatermarkingConfig",
    "add_pad_token": "ogpt.workflows.add_pad_token:add_pad_token",
    "convert": "ogpt.workflows.convert:convert",
    "demo": "ogpt.recipes.demo:demo",
    "doctor": "ogpt.workflows.doctor:doctor",
    "errors": "ogpt.errors",
    "evaluate": "ogpt.workflows.evaluate:evaluate",
    "evaluate_probes": "ogpt.workflows.evaluate_probes:evaluate_probes",
    "export_documents": "ogpt.serving.export_documents:export_documents",
    "finetune": "ogpt.workflows.finetune:finetune",
    "finetune_plan": "ogpt.workflows.finetune_plan:finetune_plan",
    "finetune_sweep": "ogpt.workflows.finetune_sweep:finetune_sweep",
    "generate": "ogpt.workflows.generate:generate",
    "generate_file": "ogpt.workflows.generate:generate_file",
    "import_documents": "ogpt.serving.import_documents:import_documents",
    "info": "ogpt.workflows.info:info",
    "load": "ogpt.workflows.load:load",
    "notices": "ogpt.notices",
    "pipeline": "ogpt.pipelines.pipeline:pipeline",
    "plan": "ogpt.workflows.plan:plan",
    "predict": "ogpt.workflows.predict:predict",
    "prepare": "ogpt.workflows.prepare:prepare",
    "pretrain": "ogpt.workflows.pretrain:pretrain",
    "push_to_hub": "ogpt.workflows.push_to_hub:push_to_hub",
    "quantize": "ogpt.workflows.quantize:quantize",
    "reproduce": "ogpt.workflows.reproduce:reproduce",
    "reproduce_plan": "ogpt.workflows.reproduce_plan:reproduce_plan",
    "score": "ogpt.workflows.score:score",
    "serve": "ogpt.serving.serve:serve",
    "train_tokenizer": "ogpt.workflows.train_tokenizer:train_tokenizer",
}
"""Where each public name lives: `module:name`, or a module itself."""

__all__ = [
    "BaseModelOutput",
    "CausalLMOutput",
    "DecoderOptions",
    "GenerateBeamDecoderOnlyOutput",
    "GenerateDecoderOnlyOutput",
    "GenerationConfig",
    "GenerationSettings",
    "LSTMConfig",
    "LSTMModel",
    "ModelFolder",
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
    "ServerSettings",
    "SynthIDTextWatermarkingConfig",
    "TFBaseModelOutput",
    "TFCausalLMOutput",
    "TFGenerateBeamDecoderOnlyOutput",
    "TFGenerateDecoderOnlyOutput",
    "TFOpenAIGPTDoubleHeadsModel",
    "TFOpenAIGPTDoubleHeadsModelOutput",
    "TFOpenAIGPTForSequenceClassification",
    "TFOpenAIGPTLMHeadModel",
    "TFOpenAIGPTMainLayer",
    "TFOpenAIGPTModel",
    "TFOpenAIGPTPreTrainedModel",
    "TFSequenceClassifierOutput",
    "WatermarkingConfig",
    "__version__",
    "add_pad_token",
    "convert",
    "demo",
    "doctor",
    "errors",
    "evaluate",
    "evaluate_probes",
    "export_documents",
    "finetune",
    "finetune_plan",
    "finetune_sweep",
    "generate",
    "generate_file",
    "import_documents",
    "info",
    "load",
    "notices",
    "pipeline",
    "plan",
    "predict",
    "prepare",
    "pretrain",
    "push_to_hub",
    "quantize",
    "reproduce",
    "reproduce_plan",
    "score",
    "serve",
    "train_tokenizer",
]


_FRAMEWORKS = {
    "torch": ("PyTorch", "torch"),
    "tensorflow": ("TensorFlow", "tf"),
    "keras": ("TensorFlow", "tf"),
    "fastapi": ("FastAPI", "serve"),
    "uvicorn": ("uvicorn", "serve"),
    "httptools": ("httptools", "serve"),
    "prometheus_client": ("prometheus-client", "serve"),
    "sqlalchemy": ("SQLAlchemy", "serve"),
    "alembic": ("Alembic", "serve"),
}
"""Name and extra of a framework or library, by the package that is missing."""


def __getattr__(name: str) -> Any:
    home, _, item = _HOMES.get(name, "").partition(":")
    if not home:
        raise AttributeError(f"module 'ogpt' has no attribute {name!r}")
    try:
        module = import_module(home)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _FRAMEWORKS:
            raise
        from ogpt.errors import BackendMissing

        framework, extra = _FRAMEWORKS[missing]
        raise BackendMissing(
            f"ogpt.{name} needs {framework}: {error}", hint=f"pip install 'ogpt[{extra}]'"
        ) from error
    value = getattr(module, item) if item else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
