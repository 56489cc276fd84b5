"""Base of all models in memory: layers, the names of weights, resizing."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import keras
from keras import ops

from ogpt.config.changes import changed, check_heads, padded
from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, OgptError
from ogpt.tf.inputs import named_arguments
from ogpt.tf.resizing import prune, replace_layer, resized
from ogpt.tf.tensors import StoredVariable, Tensor
from ogpt.weights.names import PREFIX


class TFConfigured:
    """What Keras stores of a model or layer that is built from a configuration."""

    config: OpenAIGPTConfig
    name: str
    dtype_policy: Any

    def get_config(self) -> dict[str, Any]:
        """What Keras stores to build the same again, with the names of frozen weights."""
        policy = keras.saving.serialize_keras_object(self.dtype_policy)
        stored = self.stored_variables().items()
        return {
            "config": self.config.to_dict(),
            "name": self.name,
            "dtype": policy,
            "frozen": [name for name, one in stored if not one.variable.trainable],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> Self:
        """Build what get_config describes.

        Args:
            config: From get_config.
            custom_objects: Without effect: there are no functions of the caller's.
        """
        kind: Any = cls
        given = dict(config)
        frozen = given.pop("frozen")
        given["dtype"] = keras.saving.deserialize_keras_object(given["dtype"])
        made: Self = kind(OpenAIGPTConfig.from_dict(given.pop("config")), **given)
        stored = made.stored_variables()
        for name in frozen:
            stored[name].variable.trainable = False
        return made

    @abstractmethod
    def stored_variables(self) -> dict[str, StoredVariable]:
        """The variables that a file stores, by the names of PyTorch's weights; tied ones once."""


class TFModel(TFConfigured, keras.Model):
    """A GPT-1 in memory. TFOpenAIGPTPreTrainedModel adds loading and saving.

    Every model keeps the transformer in the attribute `transformer`, and heads beside it. All
    weights exist as soon as the model does.

    Args:
        config: The configuration; the model keeps a copy when it changes a value.
        **options: name, and dtype: a Keras dtype policy such as float32 or mixed_bfloat16; by
            default Keras's global policy.

    Raises:
        ConfigError: the configuration is of another class or invalid.
    """

    config_class: ClassVar[type[OpenAIGPTConfig]] = OpenAIGPTConfig
    base_model_prefix: ClassVar[str] = PREFIX
    main_input_name: ClassVar[str] = "input_ids"

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        check_config(config)
        super().__init__(**options)
        self.config = config

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Run the model; the arguments are those of `call`.

        Args:
            *inputs: Tensors or numpy arrays in the order of `call`; or one list of them, or one
                mapping of names, such as a tokenizer returns.
            **named: Arguments by name.

        Raises:
            ConfigError: an argument is no tensor, or is passed twice.
            UnknownArgument: there is no such argument.
        """
        with own_errors():
            return super().__call__(**named_arguments(self.call, inputs, named))

    def stored_variables(self) -> dict[str, StoredVariable]:
        """The variables that a file stores, by the names of PyTorch's weights; tied ones once."""
        inside = self.transformer.stored_variables()
        return {f"{PREFIX}.{name}": stored for name, stored in inside.items()}

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Number of weights; tied ones count once.

        Args:
            only_trainable: Do not count frozen weights.
        """
        stored = self.stored_variables().values()
        return sum(
            int(ops.size(one.variable))
            for one in stored
            if one.variable.trainable or not only_trainable
        )

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Arguments of `call` that every model takes: 3 rows of 5 tokens."""
        return {"input_ids": ops.zeros((3, 5), "int32")}

    # embeddings and heads

    def get_input_embeddings(self) -> keras.layers.Embedding:
        """The token embedding."""
        return self.transformer.tokens_embed

    def set_input_embeddings(self, value: keras.layers.Embedding) -> None:
        """Replace the token embedding, which a tied head is too.

        The model gets a copy of its configuration. Call compile() again afterwards.

        Args:
            value: A built layer, with embeddings of the shape (rows, n_embd). Another number of
                rows becomes the vocabulary size, also of a head with its own weight, as in
                resize_token_embeddings.

        Raises:
            ConfigError: another shape.
        """
        table, wanted = getattr(value, "embeddings", None), self.config.n_embd
        found = None if table is None else tuple(table.shape)
        if found is None or len(found) != 2 or found[1] != wanted:
            raise ConfigError(
                f"the embedding has the shape {found}; allowed: (rows, {wanted})",
                hint="n_embd cannot change: build a keras.layers.Embedding(rows, n_embd)",
            )
        self._resize_vocabulary(found[0], None)
        replace_layer(self.transformer, "tokens_embed", value)

    def get_output_embeddings(self) -> keras.layers.Layer | None:
        """The language-model head (the token embedding if they are tied), or None."""
        return None

    def resize_token_embeddings(
        self,
        new_num_tokens: int | None = None,
        pad_to_multiple_of: int | None = None,
        mean_resizing: bool = True,
    ) -> keras.layers.Embedding:
        """Change the vocabulary size: rows of the token embedding, the head, config.vocab_size.

        The model gets a copy of its configuration; other models built from it do not change. Call
        compile() again afterwards: an optimizer keeps the old variables.

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
        old = self.get_input_embeddings()
        new = embedding(self.config, rows, name=old.name, dtype=old.dtype_policy)
        new.embeddings.assign(resized(ops.convert_to_tensor(old.embeddings), rows, std))
        replace_layer(self.transformer, "tokens_embed", new)
        return new

    def _resize_vocabulary(self, rows: int, std: float | None) -> None:
        """Change vocab_size and a head with its own weight; `std` as in `resized`."""
        self._change_config(vocab_size=rows)
        head = getattr(self, "lm_head", None)
        if head is not None:
            weight = resized(ops.transpose(head.kernel), rows, std)
            wider = dense(self.config, rows, False, name=head.name, dtype=head.dtype_policy)
            wider.kernel.assign(ops.transpose(weight))
            replace_layer(self, "lm_head", wider)

    def prune_heads(self, heads_to_prune: dict[int, list[int]]) -> None:
        """Remove attention heads from the weights and record them in config.pruned_heads.

        The model gets a copy of its configuration. Call compile() again afterwards.

        Args:
            heads_to_prune: {layer: [heads]}, numbered as in the unpruned model; negative numbers
                count from the last one.

        Raises:
            ConfigError: a layer or head that does not exist, or no head left in a layer.
        """
        pruned = check_heads(self.config, heads_to_prune)
        self._change_config(pruned_heads=pruned)
        for layer, heads in pruned.items():  # those that are removed already are skipped
            prune(self.transformer.h[layer].attn, heads)

    def _change_config(self, **values: object) -> None:
        self.config = self.transformer.config = changed(self.config, **values)


@contextmanager
def own_errors() -> Iterator[None]:
    """Let our errors through: Keras turns what a layer raises into a RuntimeError of its own."""
    try:
        yield
    except RuntimeError as error:
        inner = error.__context__
        while inner is not None and not isinstance(inner, OgptError):
            inner = inner.__context__
        if inner is None:
            raise
        raise inner from None


def check_config(config: object) -> None:
    """Check a configuration before a model is built from it.

    Raises:
        ConfigError: it is not that of a transformer, or has an invalid value.
    """
    if not isinstance(config, OpenAIGPTConfig) or isinstance(config, LSTMConfig):
        lstm = "load an LSTM with the PyTorch classes"
        other = "build one with OpenAIGPTConfig.from_dict(...), such as from config.to_dict()"
        raise ConfigError(
            f"the configuration is a {type(config).__name__}; allowed: ogpt.OpenAIGPTConfig",
            hint=lstm if isinstance(config, LSTMConfig) else other,
        )
    config.check()


def built(layer: keras.layers.Layer, *shape: int | None) -> None:
    """Mark a layer, whose weights exist, as built, and give summary() the shape of its output.

    Args:
        layer: With all of its layers.
        shape: Of the output, without the batch.
    """
    layer.output_shape = (None, *shape)
    layer.build(layer.output_shape)


def initial(config: OpenAIGPTConfig) -> keras.initializers.Initializer:
    """A new initializer of matrices.

    Each variable needs one of its own: an initializer of Keras returns the same numbers each time.
    """
    # N(0, 0.02) at every width is sufficient because LayerNorm is used throughout (paper, section
    # 4.1). transformers cut the normal off at two standard deviations here, PyTorch's code did not.
    return keras.initializers.RandomNormal(stddev=config.initializer_range)


def embedding(config: OpenAIGPTConfig, rows: int, **options: Any) -> keras.layers.Embedding:
    """A table of `rows` embeddings, with its weights.

    Args:
        config: Of the model.
        rows: Number of ids.
        **options: name and dtype, as in Keras.
    """
    start = initial(config)
    table = keras.layers.Embedding(rows, config.n_embd, embeddings_initializer=start, **options)
    table.build()
    return table


def dense(config: OpenAIGPTConfig, units: int, bias: bool, **options: Any) -> keras.layers.Dense:
    """A linear layer from n_embd to `units`, with its weights.

    Args:
        config: Of the model.
        units: Number of outputs.
        bias: Whether it has a bias.
        **options: name and dtype, as in Keras.
    """
    start = initial(config)
    layer = keras.layers.Dense(units, use_bias=bias, kernel_initializer=start, **options)
    layer.build((None, config.n_embd))
    return layer


def norm(config: OpenAIGPTConfig, **options: Any) -> keras.layers.LayerNormalization:
    """A LayerNorm over n_embd channels, with its weights.

    Args:
        config: Of the model.
        **options: name and dtype, as in Keras.
    """
    layer = keras.layers.LayerNormalization(epsilon=config.layer_norm_epsilon, **options)
    layer.build((None, None, config.n_embd))
    return layer


def stored_dense(name: str, layer: keras.layers.Dense) -> dict[str, StoredVariable]:
    """The variables of a linear layer by the names of PyTorch's weights.

    Args:
        name: Of the layer.
        layer: Made by `dense`.
    """
    stored = {f"{name}.weight": StoredVariable(layer.kernel, transposed=True)}
    return stored | ({f"{name}.bias": StoredVariable(layer.bias)} if layer.use_bias else {})
