"""Our networks as types of transformers, for tools that ask isinstance: Trainer, PEFT, lm-eval.

Each class is a subclass of transformers' base and of the class of the same name in ogpt.
transformers loads, saves and generates, and ogpt's network computes: there is no second forward.
Importing this file changes no other model; `register` makes the Auto classes use it.

>>> from ogpt.integrations.transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel
>>> config = OpenAIGPTConfig(vocab_size=50, n_positions=8, n_embd=16, n_layer=2, n_head=2)
>>> model = OpenAIGPTLMHeadModel(config)
>>> import ogpt, transformers
>>> isinstance(model, transformers.PreTrainedModel), isinstance(model, ogpt.OpenAIGPTLMHeadModel)
(True, True)
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from functools import wraps
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from torch import nn
from transformers import modeling_outputs
from transformers.generation import GenerationMixin
from transformers.models.auto import tokenization_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.gpt2.modeling_gpt2 import GPT2DoubleHeadsModelOutput

from ogpt.config.changes import changed
from ogpt.config.model import TOKENIZER_FINGERPRINT
from ogpt.config.model import OpenAIGPTConfig as OwnConfig
from ogpt.errors import ConfigError
from ogpt.hub import check_hub_id
from ogpt.integrations.own_cache import OwnCacheGeneration
from ogpt.model.attention import check_attention
from ogpt.model.base import Model
from ogpt.model.classification import OpenAIGPTForSequenceClassification as OwnClassifier
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel as OwnDoubleHeads
from ogpt.model.heads import OpenAIGPTLMHeadModel as OwnLMHead
from ogpt.model.transformer import Conv1D as OwnConv1D
from ogpt.model.transformer import OpenAIGPTModel as OwnTransformer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast as OwnTokenizerFast
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer as OwnTokenizer
from ogpt.weights.zip_records import check_records

_VERSION_4 = transformers.__version__.startswith("4.")
_LINKED = OwnConfig.defaults.keys() - {"label2id"}  # it follows from id2label


class OpenAIGPTConfig(transformers.OpenAIGPTConfig):
    """transformers' configuration, with the fields of ogpt.OpenAIGPTConfig that it lacks.

    `own` is the same configuration for ogpt's network. A field that is set here is set there too.
    """

    __slots__ = ("_own",)  # transformers writes all of vars() to config.json
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    @property
    def own(self) -> OwnConfig:
        """The configuration that the network reads."""
        if not hasattr(self, "_own"):
            names = [name for name in _LINKED - {"parity"} if hasattr(self, name)]
            given = {name: getattr(self, name) for name in names}
            self._own = OwnConfig(**given, parity=vars(self).get("parity"))
        return self._own

    @property
    def parity(self) -> Any:
        """Which implementation to follow where they differ."""
        return self.own.parity

    @parity.setter
    def parity(self, value: Any) -> None:
        self.__dict__["parity"] = value

    @property
    def use_return_dict(self) -> bool:
        """Whether models return named fields."""
        return self.own.use_return_dict

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field here and in `own`."""
        super().__setattr__(name, value)
        name = self.attribute_map.get(name, name)
        if hasattr(self, "_own") and name in _LINKED:
            setattr(self.own, name, value)

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json, as transformers writes it."""
        values: dict[str, Any] = super().to_dict()
        values.pop("parity", None)
        chosen = self.own.parity
        return values if chosen == OwnConfig().parity else values | {"parity": chosen.to_dict()}


class Conv1D(transformers.pytorch_utils.Conv1D):
    """A linear layer of ogpt with the type that PEFT and bitsandbytes look for."""

    forward = OwnConv1D.forward

    def __init__(self, layer: OwnConv1D) -> None:
        nn.Module.__init__(self)
        self.nx, self.nf = layer.weight.shape
        self.weight, self.bias = layer.weight, layer.bias


_Module: Any = nn.Module  # for mypy, which would take each attribute for a tensor


class _Start(_Module):
    """Ends transformers' chain of constructors: the network is built by its own."""

    def __init__(self, *_: Any) -> None:
        nn.Module.__init__(self)


class OpenAIGPTPreTrainedModel(transformers.PreTrainedModel, _Start):
    """Base of the models: what transformers asks of one."""

    config_class = OpenAIGPTConfig
    base_model_prefix = "transformer"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    network_class: ClassVar[type[Model]]
    """The class of ogpt."""
    config: Any
    attn_implementation: str
    _no_split_modules: ClassVar[list[str]] = ["Block"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    __setattr__ = nn.Module.__setattr__  # PEFT sees all layers here
    _supports_sdpa = True
    _supports_flash_attn = True
    # buffers in files of older versions
    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"attn\.bias", "position_ids"]

    def __init__(self, config: Any) -> None:
        if not isinstance(config, OpenAIGPTConfig):
            config = OpenAIGPTConfig.from_dict(config.to_dict())
        super().__init__(config)
        self.loss_type = self.network_class.loss_type  # not what the name of the class suggests
        network = self.network_class(config.own)
        for module in list(network.modules()):
            for name, child in list(module.named_children()):
                if type(child) is OwnConv1D:
                    setattr(module, name, Conv1D(child))
        # the modules and settings of the network become this model's own
        for name, value in vars(network).items():
            if name not in vars(self):
                setattr(self, name, value)
        self._modules.update(network._modules)
        self._parameters.update(network._parameters)
        self.set_attn_implementation(config._attn_implementation or self.attn_implementation)
        for module in self.modules():
            if all(not weight.is_meta for weight in module.parameters(recurse=False)):
                module._is_hf_initialized = True  # the network's own initial values
        self.post_init()

    @classmethod
    def from_pretrained(cls, *inputs: Any, **options: Any) -> Any:
        """As transformers' own; torchao's quantization, which skips each Conv1D, is refused."""
        asked = options.get("quantization_config")
        method = asked.get("quant_method") if isinstance(asked, dict) else asked
        if getattr(method, "quant_method", method) == "torchao":
            raise ConfigError(
                "quantization_config is of torchao, which quantizes no layer of this model",
                hint="load it without, then use ogpt.integrations.torchao.quantize",
            )
        name = inputs[0] if inputs else options.get("pretrained_model_name_or_path")
        if isinstance(name, str | PathLike) and not Path(name).exists():
            check_hub_id(name)  # transformers 4 raises no OSError
        return super().from_pretrained(*inputs, **options)

    @classmethod
    def _load_pretrained_model(
        cls, model: Any, state_dict: Any, checkpoint_files: Any, *inputs: Any, **options: Any
    ) -> Any:
        for file in map(Path, checkpoint_files or ()):
            if file.suffix == ".bin":  # torch.load compares no checksums
                check_records(file)
        given = (model, state_dict, checkpoint_files)
        return super()._load_pretrained_model(*given, *inputs, **options)

    def _init_weights(self, module: nn.Module) -> None:
        with torch.no_grad():
            for name, weight in module.named_parameters(recurse=False):
                if not getattr(weight, "_is_hf_initialized", False):
                    self.base_model.initialize(name, weight)

    # What names or changes parts of the network is ogpt's; transformers loads, saves and ties.
    # Its base comes first among the bases, and some of its methods refuse or leave config as it is.
    get_input_embeddings = Model.get_input_embeddings
    set_input_embeddings = Model.set_input_embeddings
    get_output_embeddings = Model.get_output_embeddings
    set_output_embeddings = Model.set_output_embeddings
    get_position_embeddings = Model.get_position_embeddings
    resize_position_embeddings = Model.resize_position_embeddings
    resize_token_embeddings = Model.resize_token_embeddings
    get_decoder = Model.get_decoder
    set_decoder = Model.set_decoder
    gradient_checkpointing_disable = Model.gradient_checkpointing_disable
    is_gradient_checkpointing = Model.is_gradient_checkpointing
    activation_checkpointing_enable = Model.activation_checkpointing_enable
    activation_checkpointing_disable = Model.activation_checkpointing_disable
    is_activation_checkpointing = Model.is_activation_checkpointing

    def prune_heads(self, heads_to_prune: dict[int, list[int]]) -> None:
        """Remove attention heads, as in ogpt."""
        self.config.pruned_heads = self.config.own.pruned_heads  # version 5 lacks the field
        Model.prune_heads(self, heads_to_prune)

    def _change_config(self, **values: Any) -> None:
        config = deepcopy(self.config)
        if values.get("vocab_size", config.vocab_size) != config.vocab_size:
            vars(config).pop(TOKENIZER_FINGERPRINT, None)
        self._take_config(changed(config.own, **values))  # of the models inside
        for name, value in values.items():
            setattr(config, name, value)
        self.config = config

    def set_attn_implementation(self, attn_implementation: str, **_: Any) -> None:
        """Choose how attention is computed: sdpa, eager or flash_attention_2."""
        chosen = check_attention(attn_implementation)
        self.config._attn_implementation = chosen
        self.attn_implementation = self.base_model.attn_implementation = chosen

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Any = None, *given: Any, **options: Any
    ) -> None:
        """Save memory in training, as in ogpt; adapters over frozen weights work too."""
        Model.gradient_checkpointing_enable(self, gradient_checkpointing_kwargs, *given, **options)
        if getattr(self, "_hf_peft_config_loaded", False):
            self.enable_input_require_grads()


def _returning(kind: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward of a network, with its signature and transformers' type of its output."""

    @wraps(forward)
    def typed(self: Any, *inputs: Any, **options: Any) -> Any:
        out = forward(self, *inputs, **options)
        return out if isinstance(out, tuple) else kind(**out)

    return typed


class OpenAIGPTModel(OpenAIGPTPreTrainedModel, OwnTransformer):
    """ogpt.OpenAIGPTModel as a type of transformers."""

    network_class = OwnTransformer
    forward = _returning(modeling_outputs.BaseModelOutputWithPast, OwnTransformer.forward)


_TIED: Any = {"lm_head.weight": "transformer.tokens_embed.weight"}


class OpenAIGPTLMHeadModel(
    OpenAIGPTPreTrainedModel, OwnCacheGeneration, GenerationMixin, OwnLMHead
):
    """ogpt.OpenAIGPTLMHeadModel as a type of transformers."""

    network_class = OwnLMHead
    forward = _returning(modeling_outputs.CausalLMOutputWithPast, OwnLMHead.forward)
    _tied_weights_keys = list(_TIED) if _VERSION_4 else _TIED


class OpenAIGPTDoubleHeadsModel(
    OpenAIGPTPreTrainedModel, OwnCacheGeneration, GenerationMixin, OwnDoubleHeads
):
    """ogpt.OpenAIGPTDoubleHeadsModel as a type of transformers."""

    network_class = OwnDoubleHeads
    forward = _returning(GPT2DoubleHeadsModelOutput, OwnDoubleHeads.forward)
    _tied_weights_keys = list(_TIED) if _VERSION_4 else _TIED


class OpenAIGPTForSequenceClassification(OpenAIGPTPreTrainedModel, OwnClassifier):
    """ogpt.OpenAIGPTForSequenceClassification as a type of transformers."""

    network_class = OwnClassifier
    forward = _returning(modeling_outputs.SequenceClassifierOutputWithPast, OwnClassifier.forward)


class _OwnTokens:
    """Puts ogpt's attributes before those of transformers' base, whose constructor never runs."""

    __setattr__ = object.__setattr__

    @classmethod
    def from_pretrained(cls, *inputs: Any, **options: Any) -> Any:
        """Load a folder, as in ogpt; without the private arguments of Auto classes."""
        given = {name: value for name, value in options.items() if not name.startswith("_")}
        return super().from_pretrained(*inputs, **given)


class OpenAIGPTTokenizer(_OwnTokens, OwnTokenizer, transformers.PreTrainedTokenizer):
    """ogpt.OpenAIGPTTokenizer as a type of transformers."""


class OpenAIGPTTokenizerFast(
    _OwnTokens,
    OwnTokenizerFast,
    transformers.PreTrainedTokenizerFast,
):
    """ogpt.OpenAIGPTTokenizerFast as a type of transformers."""


class _AutoTokenizerFast(OpenAIGPTTokenizerFast):
    """What AutoTokenizer finds by the name of the fast class: the folder decides, not the name."""

    @classmethod
    def from_pretrained(cls, *inputs: Any, **options: Any) -> Any:
        """Open a folder with the pre-tokenization that it was saved with."""
        return OpenAIGPTTokenizer.from_pretrained(*inputs, **options)


_AutoTokenizerFast.__name__ = OpenAIGPTTokenizerFast.__name__


def register() -> ExitStack:
    """Make transformers' Auto classes and pipelines open GPT-1 folders with these classes.

    Only the key `openai-gpt` changes; `with register():` or `register().close()` undoes it.

    Returns:
        What undoes it, by `close()` or at the end of a `with` block.

    >>> from ogpt.integrations.transformers import register
    >>> from transformers import AutoConfig
    >>> with register():
    ...     print(AutoConfig.for_model("openai-gpt").__class__.__module__)
    ogpt.integrations.transformers
    """
    undo = ExitStack()

    def enter(table: dict[Any, Any], key: Any, value: Any) -> None:
        if key in table:
            undo.callback(table.__setitem__, key, table[key])
        else:
            undo.callback(table.pop, key, None)
        table[key] = value

    enter(CONFIG_MAPPING._extra_content, OpenAIGPTConfig.model_type, OpenAIGPTConfig)
    for auto, model in _AUTO.items():
        enter(auto._model_mapping._extra_content, OpenAIGPTConfig, model)
    both = (OpenAIGPTTokenizer, _AutoTokenizerFast)
    if _VERSION_4:  # a class is found by its name here, before the registered ones
        enter(tokenization_auto.TOKENIZER_MAPPING_NAMES, OpenAIGPTConfig.model_type, (None, None))
    else:
        for one in both:
            enter(tokenization_auto.REGISTERED_TOKENIZER_CLASSES, one.__name__, one)
    mapping = tokenization_auto.TOKENIZER_MAPPING._extra_content
    enter(mapping, OpenAIGPTConfig, both if _VERSION_4 else OpenAIGPTTokenizer)
    return undo


_AUTO = {
    transformers.AutoModel: OpenAIGPTModel,
    transformers.AutoModelForCausalLM: OpenAIGPTLMHeadModel,
    transformers.AutoModelForPreTraining: OpenAIGPTLMHeadModel,
    transformers.AutoModelForSequenceClassification: OpenAIGPTForSequenceClassification,
}
