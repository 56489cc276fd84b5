"""OpenAIGPTConfig: the configuration of a model, with Hugging Face's fields, aliases and file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ogpt.config.fields import ACTIVATIONS as ACTIVATIONS
from ogpt.config.fields import bad, check_fields, from_first, kept_form, labels
from ogpt.config.parity import Parity
from ogpt.config.saved import SavedConfig, tell_misspelt
from ogpt.errors import ConfigError

_FACTS = ("is_encoder_decoder", "chunk_size_feed_forward")  # of the class, and extras of files
TOKENIZER_FINGERPRINT = "tokenizer_fingerprint"
"""Extra key of config.json: the fingerprint of the tokenizer that the model was trained with."""


class OpenAIGPTConfig(SavedConfig):
    """The configuration of a GPT-1 model (Hugging Face's class of the same name).

    The first 16 arguments may be positional, in the order of transformers 4. `hidden_size`,
    `num_attention_heads`, `num_hidden_layers` and `max_position_embeddings` are aliases of n_embd,
    n_head, n_layer and n_positions, and `torch_dtype` of dtype. Any other name is kept as an
    attribute and saved (legacy keys such as n_ctx, n_special, predict_special_tokens). The
    defaults are those of the paper (section 4.1) and of OpenAI's published weights. The fields from
    summary_type on are Hugging Face's.

    Args:
        vocab_size: Number of tokens, 1 or more. OpenAI's published model has 40,478.
        n_positions: Context length in tokens, 1 or more (paper: 512).
        n_embd: Width of the model, a multiple of n_head (paper: 768). The MLP is 4 times as wide.
        n_layer: Number of transformer blocks, 1 or more (paper: 12).
        n_head: Number of attention heads per block, 1 or more (paper: 12).
        afn: Activation function of the MLP, one of ACTIVATIONS (paper: GELU; 2018 code: its tanh
            approximation).
        resid_pdrop: Dropout rate on the output of each sub-layer, 0 to below 1 (paper: 0.1).
        embd_pdrop: Dropout rate on the embeddings, 0 to below 1 (paper: 0.1).
        attn_pdrop: Dropout rate on the attention probabilities, 0 to below 1 (paper: 0.1).
        layer_norm_epsilon: Added to the variance in LayerNorm, above 0 (2018 code: 1e-5).
        initializer_range: Standard deviation of the initial weights, 0 or more (paper: 0.02).
        summary_type: Token that represents the sequence in the double-heads model: last, first,
            mean (of all tokens), or cls_index (at mc_token_ids, as in the 2018 code).
        summary_use_proj: Whether a linear layer follows.
        summary_activation: Activation after that layer: one of SUMMARY_ACTIVATIONS, or None.
        summary_proj_to_labels: Whether that layer has num_labels outputs (1 in the double-heads
            model) instead of n_embd.
        summary_first_dropout: Dropout rate before that layer, 0 to below 1 (paper: 0.1).
        summary_last_dropout: Dropout rate after the activation, 0 to below 1.
        pad_token_id: Id of the padding token, 0 or more, or None.
        bos_token_id: Id of the token that starts a text, 0 or more, or None.
        eos_token_id: Id of the token that ends a text, a list of ids, or None.
        tie_word_embeddings: Whether the language-model head shares the token embedding (paper,
            equation 2).
        num_labels: Number of classes of a classifier, 1 or more. It is not stored: it is the length
            of id2label.
        id2label: Class names by id 0, 1, ...; default LABEL_0 and LABEL_1.
        label2id: The inverse of id2label.
        problem_type: Loss of a classifier: regression (squared error),
            single_label_classification (cross-entropy), multi_label_classification (binary
            cross-entropy per label), or None to choose it from the labels and num_labels.
        classifier_bias: Whether a sequence classifier's head has a bias, as in the 2018 code. The
            paper's has none, and transformers loads none.
        output_attentions: Whether models return attention probabilities.
        output_hidden_states: Whether models return the embeddings and the hidden states after each
            block.
        return_dict: Whether models return named fields instead of a tuple.
        torchscript: Whether models return tuples whatever return_dict is (transformers 4).
        pruned_heads: Removed attention heads, as {layer: [heads]}, both from 0 (transformers 4).
        architectures: Class names of the stored weights, or None.
        dtype: Data type of the stored weights: float32, float16, bfloat16, float64 or None. A
            torch.dtype is accepted.
        transformers_version: The version that wrote config.json, or None.
        name_or_path: Where the model was loaded from; neither compared nor saved.
        task_specific_params: Settings of generate() by task, or None.
        prefix: Text to put before a prompt, or None.
        tokenizer_class: Class name of the tokenizer, or None.
        parity: Which implementation to follow where they differ: a name of
            ogpt.config.parity.PARITY, a dictionary or a Parity. The default is "ogpt".
        **extras: Other values, kept as attributes and saved. A name that is almost that of a field
            causes the notice `unknown-setting`.

    Raises:
        ConfigError: an invalid value, at construction or in `check()`.

    >>> from ogpt import OpenAIGPTConfig
    >>> config = OpenAIGPTConfig(n_layer=2, hidden_size=24, n_head=2, num_labels=3)
    >>> config.n_embd, config.id2label[2], config.label2id["LABEL_2"]
    (24, 'LABEL_2', 2)
    >>> OpenAIGPTConfig.from_dict(config.to_dict(), n_layer=4).num_hidden_layers
    4
    """

    model_type: ClassVar[str] = "openai-gpt"
    attribute_map: ClassVar[dict[str, str]] = {
        "max_position_embeddings": "n_positions",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }
    # facts that tools read; a config.json may contain them
    is_encoder_decoder = False
    chunk_size_feed_forward = 0
    base_config_key = ""
    sub_configs: ClassVar[dict[str, Any]] = {}
    has_no_defaults_at_init = False
    other_names: ClassVar[dict[str, str]] = {
        **attribute_map,
        "torch_dtype": "dtype",
        "_name_or_path": "name_or_path",  # in files of transformers 4
    }

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    afn: str
    resid_pdrop: float
    embd_pdrop: float
    attn_pdrop: float
    layer_norm_epsilon: float
    initializer_range: float
    summary_type: str
    summary_use_proj: bool
    summary_activation: str | None
    summary_proj_to_labels: bool
    summary_first_dropout: float
    summary_last_dropout: float
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_id: int | list[int] | None
    tie_word_embeddings: bool
    id2label: dict[int, str]
    label2id: dict[str, int]
    problem_type: str | None
    classifier_bias: bool
    output_attentions: bool
    output_hidden_states: bool
    return_dict: bool
    torchscript: bool
    pruned_heads: dict[int, list[int]]
    architectures: list[str] | None
    dtype: str | None
    transformers_version: str | None
    name_or_path: str
    task_specific_params: dict[str, Any] | None
    prefix: str | None
    tokenizer_class: str | None
    parity: Parity

    def __init__(
        self,
        vocab_size: int = 40478,
        n_positions: int = 512,
        n_embd: int = 768,
        n_layer: int = 12,
        n_head: int = 12,
        afn: str = "gelu",
        resid_pdrop: float = 0.1,
        embd_pdrop: float = 0.1,
        attn_pdrop: float = 0.1,
        layer_norm_epsilon: float = 1e-5,
        initializer_range: float = 0.02,
        summary_type: str = "cls_index",
        summary_use_proj: bool = True,
        summary_activation: str | None = None,
        summary_proj_to_labels: bool = True,
        summary_first_dropout: float = 0.1,
        *,
        summary_last_dropout: float = 0.0,
        pad_token_id: int | None = None,
        bos_token_id: int | None = None,
        eos_token_id: int | list[int] | None = None,
        tie_word_embeddings: bool = True,
        num_labels: int | None = None,
        id2label: Mapping[int, str] | Mapping[str, str] | None = None,
        label2id: Mapping[str, int] | None = None,
        problem_type: str | None = None,
        classifier_bias: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
        torchscript: bool = False,
        pruned_heads: Mapping[int, list[int]] | Mapping[str, list[int]] | None = None,
        architectures: list[str] | None = None,
        dtype: Any = None,
        transformers_version: str | None = None,
        name_or_path: str | Path = "",
        task_specific_params: dict[str, Any] | None = None,
        prefix: str | None = None,
        tokenizer_class: str | None = None,
        parity: str | Mapping[str, str] | Parity | None = None,
        **extras: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.defaults}
        given["id2label"], given["label2id"] = labels(num_labels, id2label, label2id)
        given["pruned_heads"] = from_first(
            kept_form("pruned_heads", pruned_heads or {}), n_layer, n_head
        )
        model_type = extras.pop("model_type", self.model_type)
        if model_type != self.model_type:
            raise ConfigError(
                f"the configuration is of a {model_type!r} model; allowed: {self.model_type!r}",
                hint="use a GPT-1 model (openai-gpt): ogpt runs no others",
            )
        tell_misspelt(extras, [*self.defaults, *self.other_names, "num_labels"])
        for name, value in extras.items():
            field = self.other_names.get(name, name)
            if field in self.defaults:
                value, other = kept_form(field, value), kept_form(field, given[field])
                if other not in (self.defaults[field], value):
                    raise bad(name, value, f"{other!r}, the value of {field}, its other name")
            given[field] = value
        for name, value in given.items():
            setattr(self, name, value)
        self.check()

    def __getattr__(self, name: str) -> Any:
        """Return a field by an alias such as hidden_size."""
        if name in self.other_names:
            return getattr(self, self.other_names[name])
        raise AttributeError(f"{type(self).__name__} has no field {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field by any of its names, normalized to the type that it stores."""
        name = self.other_names.get(name, name)
        if name != "num_labels" and name not in _FACTS and hasattr(type(self), name):
            raise bad(name, value, "no value: the class itself uses this name")
        if name == "id2label":
            vars(self)[name], vars(self)["label2id"] = labels(None, value, None)
        else:
            super().__setattr__(name, kept_form(name, value))

    def __eq__(self, other: object) -> bool:
        """Compare all fields and extras, except name_or_path."""
        if not isinstance(other, OpenAIGPTConfig):
            return NotImplemented
        return vars(self) | {"name_or_path": ""} == vars(other) | {"name_or_path": ""}

    __hash__ = None  # type: ignore[assignment]  # mutable, as in Hugging Face

    @property
    def num_labels(self) -> int:
        """Number of classes of a classifier; a new number renames them LABEL_0, LABEL_1, ...."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, num_labels: int) -> None:
        renamed, _ = labels(num_labels, None, None)
        if num_labels != self.num_labels:
            self.id2label = renamed

    @property
    def use_return_dict(self) -> bool:
        """Whether models return named fields: return_dict, unless torchscript is set."""
        return self.return_dict and not self.torchscript

    @property
    def only_ogpt(self) -> str:
        """Why transformers cannot load the model as it is; empty if it can."""
        if self.classifier_bias:
            return "the classifier has a bias, which transformers ignores"
        return ""

    def check(self) -> None:
        """Validate all fields; a model does this before it is built.

        Raises:
            ConfigError: an invalid value. The message has the field, the value and the allowed
                values.
        """
        check_fields(vars(self))


_PARAMETERS = [
    parameter
    for parameter in inspect.signature(OpenAIGPTConfig.__init__).parameters.values()
    if parameter.default is not parameter.empty and parameter.name != "num_labels"
]
OpenAIGPTConfig.defaults = {parameter.name: parameter.default for parameter in _PARAMETERS}
OpenAIGPTConfig.always_written = {
    "model_type",
    *(item.name for item in _PARAMETERS if item.kind is item.POSITIONAL_OR_KEYWORD),
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "tie_word_embeddings",
}
