"""What all models are, whatever is read or written: weights, their sizes, and how they train."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.model.attention import best_attention, check_attention
from ogpt.model.inputs import refuse_unknown
from ogpt.model.resizing import changed, check_heads, padded, resized
from ogpt.weights.names import PREFIX

OPTIONS = (
    "head_mask",
    "past_key_values",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
)
"""Arguments of every forward that the heads pass on to the transformer."""


class Model(nn.Module):
    """A GPT-1 in memory. Base of OpenAIGPTPreTrainedModel, which adds files."""

    config_class: ClassVar[type[OpenAIGPTConfig]] = OpenAIGPTConfig
    base_model_prefix: ClassVar[str] = PREFIX
    main_input_name: ClassVar[str] = "input_ids"
    supports_gradient_checkpointing: ClassVar[bool] = True

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        if not isinstance(config, OpenAIGPTConfig):
            raise ConfigError(
                f"the configuration is a {type(config).__name__}; allowed: ogpt.OpenAIGPTConfig",
                hint="OpenAIGPTConfig.from_dict(...) takes a dict, and any config's to_dict()",
            )
        config.check()
        self.config = config
        self.attn_implementation = best_attention()
        self.gradient_checkpointing = False
        self.checkpoint_options: dict[str, Any] = {"use_reentrant": False}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    @property
    def base_model(self) -> Model:
        """The transformer, without a head."""
        found: Model = getattr(self, PREFIX, self)
        return found

    def post_init(self) -> None:
        """Draw initial weights: N(0, initializer_range), biases zero, gains one (paper 4.1)."""
        self._draw(dict(self.named_parameters()))

    def _draw(self, parameters: Mapping[str, nn.Parameter]) -> None:
        with torch.no_grad():
            for name, parameter in parameters.items():
                if name.endswith("bias"):
                    parameter.zero_()
                elif parameter.ndim == 1:  # gain of a layer norm
                    parameter.fill_(1.0)
                else:
                    parameter.normal_(0.0, self.config.initializer_range)

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Weights, tied ones counted once.

        Args:
            only_trainable: Leave frozen ones out.
        """
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    # embeddings and heads

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        found: nn.Embedding = self.base_model.get_submodule("tokens_embed")  # type: ignore[assignment]  # by its name
        return found

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Put another token embedding in place.

        Raises:
            ConfigError: it has another shape than (vocab_size, n_embd).
        """
        wanted = (self.config.vocab_size, self.config.n_embd)
        if tuple(value.weight.shape) != wanted:
            raise ConfigError(
                f"the embedding has the shape {tuple(value.weight.shape)}; allowed: {wanted}",
                hint="resize_token_embeddings changes the rows first",
            )
        self.base_model.tokens_embed = value
        self.tie_weights()

    def get_output_embeddings(self) -> nn.Linear | None:
        """The language-model head, of models that have one."""
        return getattr(self, "lm_head", None)

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Put another language-model head in place."""
        self.lm_head = value

    def tie_weights(self) -> None:
        """Make tied weights one again; models without a tied head have none."""

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> nn.Embedding:
        """Change the rows of the token embedding and of the head, and config.vocab_size.

        The configuration is a copy: another model built from it is not changed.

        Args:
            new_num_tokens: Rows, 1 or more; None: as many as there are.
            pad_to_multiple_of: Round the rows up to a multiple.
            mean_resizing: New rows are the mean of the old ones, so that no new token is likelier
                than a common one; False: drawn from N(0, initializer_range).

        Raises:
            ConfigError: fewer than 1.
        """
        rows = self.config.vocab_size if new_num_tokens is None else new_num_tokens
        rows = padded(rows, pad_to_multiple_of)
        config = changed(self.config, vocab_size=rows)
        if rows != self.config.vocab_size:  # another tokenizer belongs to it from now on
            vars(config).pop(TOKENIZER_FINGERPRINT, None)
        self._take_config(config)
        std = None if mean_resizing else self.config.initializer_range
        embedding = self.get_input_embeddings()
        embedding.weight = resized(embedding.weight, rows, std)
        embedding.num_embeddings = rows
        head = self.get_output_embeddings()
        if head is not None and not self.config.tie_word_embeddings:
            head.weight = resized(head.weight, rows, std)
            head.out_features = rows
        self.tie_weights()
        return embedding

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Change the longest sequence, n_positions; new positions are drawn anew, to be trained.

        Args:
            new_num_position_embeddings: 1 or more.

        Raises:
            ConfigError: fewer than 1.
        """
        rows = new_num_position_embeddings
        self._take_config(changed(self.config, n_positions=rows))
        table: nn.Embedding = self.base_model.get_submodule("positions_embed")  # type: ignore[assignment]  # by its name
        table.weight = resized(table.weight, rows, self.config.initializer_range)
        table.num_embeddings = rows

    def prune_heads(self, heads_to_prune: dict[int, list[int]]) -> None:
        """Cut attention heads out of the weights, for good; config.pruned_heads remembers them.

        Args:
            heads_to_prune: {layer: [heads]}, counted as in the whole model.

        Raises:
            ConfigError: a layer or head that is not there, or none left in a layer.
        """
        pruned = check_heads(self.config, heads_to_prune)
        self._take_config(changed(self.config, pruned_heads=pruned))
        for layer, heads in heads_to_prune.items():
            self.base_model.get_submodule(f"h.{layer}.attn").prune_heads(heads)  # type: ignore[operator]  # an Attention

    def _take_config(self, config: OpenAIGPTConfig) -> None:
        for module in self.modules():
            if isinstance(module, Model):
                module.config = config

    # training

    def freeze(self, embeddings: bool = True, layers: int | Iterable[int] = ()) -> None:
        """Keep weights from being trained; `freeze(False)` trains all again.

        Args:
            embeddings: Those of tokens and positions (a tied head is the token embedding).
            layers: The first so many blocks, or the numbers of blocks.

        Raises:
            ConfigError: a block that is not there.
        """
        if isinstance(layers, int):
            layers = range(layers) if layers >= 0 else [layers]
        chosen = set(layers)
        if not chosen <= set(range(self.config.n_layer)):
            raise ConfigError(
                f"layers {sorted(chosen)} were to be frozen; allowed: 0 to "
                f"{self.config.n_layer - 1}",
                hint="give how many of the first blocks, or their numbers",
            )
        tables = ("tokens_embed.", "positions_embed.")
        blocks = tuple(f"h.{layer}." for layer in chosen)
        for name, parameter in self.base_model.named_parameters():
            frozen = (embeddings and name.startswith(tables)) or name.startswith(blocks)
            parameter.requires_grad_(not frozen)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Compute each block again in the backward pass rather than keep its activations.

        Args:
            gradient_checkpointing_kwargs: For torch.utils.checkpoint, such as use_reentrant.
        """
        base = self.base_model
        base.gradient_checkpointing = True
        base.checkpoint_options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}

    def gradient_checkpointing_disable(self) -> None:
        """Keep activations again."""
        self.base_model.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether blocks are computed again in the backward pass."""
        return self.base_model.gradient_checkpointing

    def enable_input_require_grads(self) -> None:
        """Let gradients reach the embeddings' output although the embeddings are frozen."""
        self.get_input_embeddings().register_forward_hook(
            lambda module, given, out: out.requires_grad_(True)
        )

    def set_attn_implementation(self, attn_implementation: str) -> None:
        """Choose how attention is computed: sdpa, eager or flash_attention_2.

        Raises:
            ConfigError: another name.
            BackendMissing: flash_attn is not installed.
        """
        self.attn_implementation = check_attention(attn_implementation)
        self.base_model.attn_implementation = self.attn_implementation

    # arguments of forward

    def _asked(self, value: bool | None, name: str) -> bool:
        """An argument, or what the configuration says where it is None."""
        return bool(getattr(self.config, name) if value is None else value)

    def _known(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that every model takes; any other is refused by name.

        Raises:
            UnknownArgument: there are some, and parity does not ask to leave them out.
        """
        unknown = [name for name in options if name not in OPTIONS]
        if unknown:
            own = [*inspect.signature(type(self).forward).parameters][1:-1]
            known = list(dict.fromkeys([*own, *OPTIONS]))
            refuse_unknown(unknown, known, self.config.parity.arguments)
        return {name: options[name] for name in OPTIONS if name in options}
