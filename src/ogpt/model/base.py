"""Base of all models in memory: initial weights, resizing and freezing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ogpt.config.changes import changed, check_heads, padded
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.model.attention import best_attention, check_attention
from ogpt.model.model_facts import ModelFacts
from ogpt.model.resizing import resized
from ogpt.notices import tell
from ogpt.weights.names import PREFIX


class Model(ModelFacts):
    """A GPT-1 in memory. OpenAIGPTPreTrainedModel adds loading and saving.

    Every model keeps the transformer, or the LSTM in its place, in the attribute `transformer`
    (`base_model`), and heads beside it; OpenAIGPTModel and LSTMModel are their own base models.
    """

    config_class: ClassVar[type[OpenAIGPTConfig]] = OpenAIGPTConfig
    base_model_prefix: ClassVar[str] = PREFIX
    _tied_weights_keys: ClassVar[dict[str, str]] = {}  # weight: the one that it is tied to

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            wanted = self.config_class.__name__
            raise ConfigError(
                f"the configuration is a {type(config).__name__}; allowed: ogpt.{wanted}",
                hint=f"build one with {wanted}.from_dict(...), such as from config.to_dict()",
            )
        config.check()
        self.config = config
        self.attn_implementation = best_attention()
        self._require_grads_hook: RemovableHandle | None = None
        self.all_tied_weights_keys: dict[str, str] = {}
        """Names of tied weights, with the weight that each is tied to."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; PEFT puts an adapter in the place of a layer so."""
        # It finds nn.Linear and transformers' Conv1D: of our layers, the heads alone.
        adapts = type(value).__module__.startswith("peft.tuners.")
        if adapts and isinstance(getattr(self, name, None), nn.Linear):
            tell("adapter-on-head", layer=name)
        super().__setattr__(name, value)

    @property
    def base_model(self) -> Model:
        """The transformer without its heads."""
        found: Model = getattr(self, PREFIX, self)
        return found

    def post_init(self) -> None:
        """Initialize the weights: N(0, initializer_range), biases 0, LayerNorm gains 1."""
        self._initialize(dict(self.named_parameters()))

    def init_weights(self) -> None:
        """Initialize the weights and tie them."""
        self.post_init()
        self.tie_weights()

    @torch.no_grad()
    def _initialize(self, parameters: Mapping[str, nn.Parameter]) -> None:
        for name, parameter in parameters.items():
            self.base_model.initialize(name, parameter)

    def initialize(self, name: str, parameter: nn.Parameter) -> None:
        """Give a weight its initial values.

        Args:
            name: Of the weight, with or without the prefix `transformer.`.
            parameter: The weight.
        """
        # N(0, 0.02) at every width is sufficient because LayerNorm is used throughout (paper,
        # section 4.1). torch's defaults depend on the width, and embeddings would be N(0, 1).
        if name.endswith("bias"):
            parameter.zero_()
        elif parameter.ndim == 1:  # LayerNorm gain
            parameter.fill_(1.0)
        else:
            parameter.normal_(0.0, self.config.initializer_range)

    # embeddings and heads

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        found: nn.Embedding = self.base_model.get_submodule("tokens_embed")  # type: ignore[assignment]  # by its name
        return found

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embedding.

        Args:
            value: Of the shape (rows, n_embd). Another number of rows becomes the vocabulary size,
                also of a head with its own weight, as in resize_token_embeddings.

        Raises:
            ConfigError: another shape.
        """
        rows, wanted = len(value.weight), self.config.n_embd
        if value.weight.ndim != 2 or value.weight.shape[1] != wanted:
            found = tuple(value.weight.shape)
            raise ConfigError(
                f"the embedding has the shape {found}; allowed: (rows, {wanted})",
                hint="n_embd of a model cannot change: build an embedding of its width",
            )
        self.base_model.tokens_embed = value
        self._resize_vocabulary(rows, None)
        self.tie_weights()

    def get_output_embeddings(self) -> nn.Linear | None:
        """The language-model head, or None."""
        return getattr(self, "lm_head", None)

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the language-model head, which is no longer tied to the token embedding.

        The model gets a copy of its configuration.

        Args:
            new_embeddings: Without a bias, with a weight (vocab_size, n_embd). The token
                embedding's own weight ties them.

        Raises:
            ConfigError: another shape, a bias, or a model without a language-model head.
        """
        if self.get_output_embeddings() is None:
            raise ConfigError(
                f"the model is a {type(self).__name__}, without a language-model head",
                hint="use OpenAIGPTLMHeadModel or OpenAIGPTDoubleHeadsModel",
            )
        wanted = (self.config.vocab_size, self.config.n_embd)
        weight = new_embeddings.weight
        biased = getattr(new_embeddings, "bias", None) is not None
        if tuple(weight.shape) != wanted or biased:
            found = f"{tuple(weight.shape)}{' and a bias' * biased}"
            raise ConfigError(
                f"the head has a weight of the shape {found}; allowed: {wanted}, no bias",
                hint="build torch.nn.Linear(n_embd, vocab_size, bias=False); for another number "
                "of tokens, call resize_token_embeddings first",
            )
        self.lm_head = new_embeddings
        self._change_config(tie_word_embeddings=weight is self.get_input_embeddings().weight)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Make tied weights the same tensor again; without a language-model head, do nothing."""

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Names of tied weights, with the weight that each is tied to.

        Args:
            all_submodels: Has no effect: only the head of the whole model is tied.
        """
        return dict(self.all_tied_weights_keys)

    def get_decoder(self) -> Model:
        """The network without its heads."""
        return self.base_model

    def set_decoder(self, decoder: Model) -> None:
        """Replace the network, and tie the head to it.

        Args:
            decoder: Of a configuration with the same sizes.

        Raises:
            ConfigError: the model is a network itself.
        """
        if self.base_model is self:
            raise ConfigError(
                f"the model is a {type(self).__name__}, a network without a head",
                hint="set the network of a model with a head",
            )
        setattr(self, PREFIX, decoder)
        self.tie_weights()

    @property
    def _keys_to_ignore_on_save(self) -> list[str] | None:
        """Names that files lack although the state dict has them: Trainer ties them again."""
        return list(self.all_tied_weights_keys) or None

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Embedding:
        """Change the vocabulary size: rows of the token embedding, the head, config.vocab_size.

        The model gets a copy of its configuration; other models built from it do not change.

        Args:
            new_num_tokens: Number of rows, 1 or more; None keeps it.
            pad_to_multiple_of: Round the number of rows up to a multiple, such as 64.
            mean_resizing: New rows are the mean of the old ones, so that no new token is more
                probable than a common one. False initializes them from N(0, initializer_range).

        Returns:
            The token embedding.

        Raises:
            ConfigError: fewer than 1 row.
        """
        rows = self.config.vocab_size if new_num_tokens is None else new_num_tokens
        rows = padded(rows, pad_to_multiple_of)
        std = None if mean_resizing else self.config.initializer_range
        self._resize_vocabulary(rows, std)
        embedding = self.get_input_embeddings()
        embedding.weight = resized(embedding.weight, rows, std)
        embedding.num_embeddings = rows
        self.tie_weights()
        return embedding

    def _resize_vocabulary(self, rows: int, std: float | None) -> None:
        """Change vocab_size and a head with its own weight; `std` as in `resized`."""
        self._change_config(vocab_size=rows)
        head = self.get_output_embeddings()
        if head is not None:
            head.out_features = rows
            if not self.config.tie_word_embeddings:
                head.weight = resized(head.weight, rows, std)

    def get_position_embeddings(self) -> nn.Embedding:
        """The position embedding.

        Raises:
            ConfigError: the model is an LSTM.
        """
        if not hasattr(self.base_model, "positions_embed"):
            raise ConfigError(
                "the model is an LSTM; only a transformer has position embeddings",
                hint="an LSTM reads its tokens in order, and needs none",
            )
        found: nn.Embedding = self.base_model.get_submodule("positions_embed")  # type: ignore[assignment]  # by its name
        return found

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Change the context length, config.n_positions.

        New rows are randomly initialized and need training.

        Args:
            new_num_position_embeddings: Number of positions, 1 or more.

        Raises:
            ConfigError: fewer than 1.
        """
        rows = new_num_position_embeddings
        self._change_config(n_positions=rows)
        if not hasattr(self.base_model, "positions_embed"):  # an LSTM: no weight depends on it
            return
        table = self.get_position_embeddings()
        table.weight = resized(table.weight, rows, self.config.initializer_range)
        table.num_embeddings = rows

    def prune_heads(self, heads_to_prune: dict[int, list[int]]) -> None:
        """Remove attention heads from the weights and record them in config.pruned_heads.

        Args:
            heads_to_prune: {layer: [heads]}, numbered as in the unpruned model; negative numbers
                count from the last one.

        Raises:
            ConfigError: a layer or head that does not exist, or no head left in a layer.
        """
        pruned = check_heads(self.config, heads_to_prune)
        self._change_config(pruned_heads=pruned)
        for layer, heads in pruned.items():  # those that are removed already are skipped
            self.base_model.get_submodule(f"h.{layer}.attn").prune_heads(heads)  # type: ignore[operator]  # an Attention

    def _change_config(self, **values: object) -> None:
        self._take_config(changed(self.config, **values))

    def _take_config(self, config: OpenAIGPTConfig) -> None:
        """Use `config` in this model and the models inside it."""
        for module in self.modules():
            if isinstance(module, Model):
                module.config = config

    # training

    def freeze(self, embeddings: bool = True, layers: int | Iterable[int] = ()) -> None:
        """Exclude weights from training; `freeze(False)` makes all trainable again.

        Args:
            embeddings: Freeze the token and position embeddings (a tied head is one of them).
            layers: Number of blocks to freeze from the first one on, or the numbers of blocks.

        Raises:
            ConfigError: a block that does not exist.
        """
        if isinstance(layers, int):
            layers = range(layers) if layers >= 0 else [layers]
        chosen = set(layers)
        if not chosen <= set(range(self.config.n_layer)):
            raise ConfigError(
                f"layers {sorted(chosen)} were to be frozen; allowed: 0 to "
                f"{self.config.n_layer - 1}",
                hint="pass how many of the first blocks to freeze, or their numbers",
            )
        tables = ("tokens_embed.", "positions_embed.")
        blocks = tuple(f"h.{layer}." for layer in chosen)
        for name, parameter in self.base_model.named_parameters():
            frozen = (embeddings and name.startswith(tables)) or name.startswith(blocks)
            parameter.requires_grad_(not frozen)

    def enable_input_require_grads(self) -> None:
        """Give the embeddings' output a gradient, which adapters over frozen embeddings need."""
        self.disable_input_require_grads()
        self._require_grads_hook = self.get_input_embeddings().register_forward_hook(
            lambda module, given, out: out.requires_grad_(True)
        )

    def disable_input_require_grads(self) -> None:
        """Undo enable_input_require_grads."""
        if self._require_grads_hook is not None:
            self._require_grads_hook.remove()
            self._require_grads_hook = None

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Choose how attention is computed.

        Args:
            attn_implementation: sdpa (torch's fused kernels), eager (plain matmuls) or
                flash_attention_2.

        Raises:
            ConfigError: another name.
            BackendMissing: flash_attn is not installed.
        """
        self.attn_implementation = check_attention(attn_implementation)
        self.base_model.attn_implementation = self.attn_implementation
