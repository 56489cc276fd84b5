"""What Keras calls: compile(), fit(), evaluate() and predict() with the model's own loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import keras
import tensorflow as tf
from numpy.typing import NDArray

from ogpt.config.model_output import ModelOutput
from ogpt.errors import ConfigError
from ogpt.notices import tell
from ogpt.tf.inputs import named_arguments
from ogpt.tf.keras_checks import check_ids, checking
from ogpt.tf.keras_data import Collate, Row, keras_dataset, stacked
from ogpt.tf.losses import IGNORE_INDEX
from ogpt.tf.replicas import TFReplicatedModel
from ogpt.tf.tensors import Tensor


class TFTrainableModel(TFReplicatedModel):
    """A model for Keras's training loop.

    Batches are what `call` takes, with labels among the inputs or as Keras's targets: `x`, or
    `(x, y)`, where y is one tensor or a mapping of the labels by name.
    """

    output_class: ClassVar[type[ModelOutput]]
    label_name: ClassVar[str] = "labels"
    """The argument of `call` that targets without a name are for."""

    score_name: ClassVar[str] = "logits"
    """The output that targets are compared with."""

    next_labels: ClassVar[bool] = False
    """Whether the scores of a position are for the label after it."""

    own_loss = True
    """Whether fit() uses the loss that `call` returns; compile(loss=...) replaces it."""

    _announced = False  # whether the notice of XLA came since compile()
    _measured = False  # whether compile() got metrics

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **options: Any) -> None:
        """Prepare for fit() and evaluate().

        Args:
            optimizer: Of Keras.
            loss: Of Keras, for targets and logits; None: the model's own loss.
            **options: metrics, jit_compile, ... as in keras.Model.compile. With the model's own
                loss, metrics compare what it does: logits with the next token, or mc_logits with
                mc_labels; -100 does not count. Targets of a loss of Keras's belong to the logits of
                their position, or to mc_logits.
        """
        self.own_loss = loss is None
        self._announced = False
        found = [options.get(name) or [] for name in ("metrics", "weighted_metrics")]
        self._measured = any(found)
        if self.own_loss and self._measured:
            # weighted ones leave out what is labelled -100
            options |= {"metrics": None, "weighted_metrics": keras.tree.flatten(found)}
        super().compile(optimizer=optimizer, loss=loss, **options)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the model of a file was; Keras calls it before it reads the optimizer's state.

        Args:
            config: From get_compile_config.
        """
        if type(self).compile is not TFTrainableModel.compile:
            super().compile_from_config(config)  # what a caller's own compile takes is not in it
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def train_step(self, data: Any) -> Any:
        """One step of fit(); Keras calls it.

        Args:
            data: A batch: x or (x, y), or (x, y, sample_weight) with a loss of Keras's.

        Raises:
            ConfigError: sample weights with the model's own loss, or no labels.
        """
        return super().train_step(self._labelled(data))

    def test_step(self, data: Any) -> Any:
        """One step of evaluate(); Keras calls it.

        Args:
            data: As in train_step.

        Raises:
            ConfigError: as in train_step.
        """
        return super().test_step(self._labelled(data))

    def predict_step(self, data: Any) -> Any:
        """One step of predict(); Keras calls it.

        Args:
            data: A batch; its targets are not used.
        """
        out = super().predict_step(data)
        if not isinstance(out, ModelOutput):
            return out
        return {name: value for name, value in out.items() if not name.endswith("loss")}

    def fit(self, x: Any = None, y: Any = None, *arguments: Any, **options: Any) -> Any:
        """Train.

        Args:
            x: Inputs as in `call`, also a BatchEncoding; or a tf.data.Dataset of batches of them.
            y: Labels, if they are not among the inputs.
            *arguments: As in keras.Model.fit.
            **options: As in keras.Model.fit.

        Raises:
            TokenOutOfRange: an id without an embedding, or a label outside the vocabulary, among
                arrays or in a tf.data.Dataset; a generator's are not checked.
            ConfigError: a class, choice or position that does not exist, as above.
        """
        with self._checking() as checked:
            if options.get("validation_data") is not None:
                given, *others = keras.utils.unpack_x_y_sample_weight(options["validation_data"])
                given = checked(given, others[0])
                options["validation_data"] = keras.utils.pack_x_y_sample_weight(given, *others)
            self._eval_epoch_iterator = None  # Keras keeps that of a fit() that an error ended
            return super().fit(checked(x, y), y, *arguments, **options)

    def evaluate(self, x: Any = None, y: Any = None, *arguments: Any, **options: Any) -> Any:
        """The loss and the metrics.

        Args:
            x: As in fit.
            y: As in fit.
            *arguments: As in keras.Model.evaluate.
            **options: As in keras.Model.evaluate.

        Raises:
            TokenOutOfRange, ConfigError: as in fit.
        """
        with self._checking() as checked:
            return super().evaluate(checked(x, y), y, *arguments, **options)

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """The outputs for all batches, as numpy arrays in the output class of the model.

        Args:
            x: As in fit.
            *arguments: As in keras.Model.predict.
            **options: As in keras.Model.predict.

        Raises:
            TokenOutOfRange, ConfigError: as in fit.
        """
        with self._checking(targets=False) as checked:
            found = super().predict(checked(x), *arguments, **options)
        return self.output_class(**found) if isinstance(found, dict) else found

    def train_on_batch(self, x: Any, y: Any = None, *arguments: Any, **options: Any) -> Any:
        """One step of training.

        Args:
            x: A batch of inputs as in fit.
            y: As in fit.
            *arguments: As in keras.Model.train_on_batch.
            **options: As in keras.Model.train_on_batch.

        Raises:
            TokenOutOfRange, ConfigError: as in fit.
        """
        with self._checking() as checked:
            return super().train_on_batch(checked(x, y), y, *arguments, **options)

    def test_on_batch(self, x: Any, y: Any = None, *arguments: Any, **options: Any) -> Any:
        """The loss and the metrics of one batch.

        Args:
            x: A batch of inputs as in fit.
            y: As in fit.
            *arguments: As in keras.Model.test_on_batch.
            **options: As in keras.Model.test_on_batch.

        Raises:
            TokenOutOfRange, ConfigError: as in fit.
        """
        with self._checking() as checked:
            return super().test_on_batch(checked(x, y), y, *arguments, **options)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as numpy arrays in the output class of the model.

        Args:
            x: A batch of inputs as in fit.

        Raises:
            TokenOutOfRange, ConfigError: as in fit.
        """
        with self._checking(targets=False) as checked:
            found = super().predict_on_batch(checked(x))
        return self.output_class(**found) if isinstance(found, dict) else found

    def check_values(self, given: Mapping[str, NDArray[Any]]) -> None:
        """Check what a compiled step cannot: there an id without a row goes unnoticed.

        Args:
            given: Arguments of `call` by name.

        Raises:
            TokenOutOfRange: an id without an embedding.
        """
        check_ids(given, self.config)

    def prepare_tf_dataset(
        self,
        dataset: Sequence[Row],
        batch_size: int = 8,
        shuffle: bool = True,
        tokenizer: Any = None,
        collate_fn: Callable[..., Mapping[str, Any]] | None = None,
        collate_fn_args: Mapping[str, Any] | None = None,
        drop_remainder: bool | None = None,
        prefetch: bool = True,
    ) -> tf.data.Dataset:
        """Make batches for fit(), evaluate() and predict() of the rows of a data set.

        Columns that `call` does not take are dropped; `label` and `label_ids` become labels.

        Args:
            dataset: A datasets.Dataset, or any other sequence of mappings, such as a list.
            batch_size: Rows of a batch, 1 or more.
            shuffle: Whether to shuffle, again in each epoch.
            tokenizer: Fills up the rows of a batch to the longest one.
            collate_fn: Makes a batch of a list of rows instead.
            collate_fn_args: Its other arguments, by name.
            drop_remainder: Whether to drop a last batch that is smaller; None: if `shuffle`.
            prefetch: Whether to make the next batch while the last one is in use.

        Returns:
            A tf.data.Dataset of inputs and labels, or of inputs alone.

        Raises:
            ConfigError: no rows, no column that the model takes, or rows of different lengths
                without a tokenizer.
        """
        collate: Collate = stacked
        if tokenizer is not None:
            collate = partial(tokenizer.pad, return_tensors="np")
        if collate_fn is not None:
            collate = partial(collate_fn, **(collate_fn_args or {}))
        code = type(self).call.__code__
        return keras_dataset(
            dataset,
            code.co_varnames[1 : code.co_argcount],
            collate,
            batch_size=batch_size,
            shuffle=shuffle,
            drop_remainder=shuffle if drop_remainder is None else drop_remainder,
            prefetch=prefetch,
        )

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The loss of a batch: the model's own, or that of compile(loss=...).

        Args:
            x: Inputs.
            y: Targets of a loss of Keras's.
            y_pred: Output of the model.
            sample_weight: Of each example, for a loss of Keras's.
            training: Whether it is for fit().

        Raises:
            ConfigError: the model's own loss without labels, or targets that lack those of
                score_name.
        """
        if not self.own_loss:
            y = self._wanted(y)
            return super().compute_loss(x, y, self._scores(y_pred), sample_weight, training)
        loss = self.combined_loss(y_pred)
        if loss is None:
            raise ConfigError(
                f"the batch has no {self.label_name}, and compile() got no loss; allowed: one of "
                "the two",
                hint=f"put {self.label_name} among the inputs, or pass compile(loss=...)",
            )
        # as Keras's own losses do: it adds up the gradients of replicas
        return loss / tf.distribute.get_strategy().num_replicas_in_sync

    def combined_loss(self, out: Any) -> Tensor | None:
        """The loss to minimize, (); None without labels.

        Args:
            out: Output of the model.
        """
        return out.get("loss")

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Update the metrics with the logits and the labels of a batch.

        Args:
            x: Inputs, with the labels if the loss is the model's own.
            y: Targets of a loss of Keras's.
            y_pred: Output of the model.
            sample_weight: Of each example.

        Raises:
            ConfigError: there are metrics, but no labels for them.
        """
        scores = self._scores(y_pred)
        if self.own_loss and self._measured:
            y, scores, sample_weight = self._counted(self._wanted(x if y is None else y), scores)
        elif not self.own_loss:
            y = self._wanted(y)
        return super().compute_metrics(x, y, scores, sample_weight)

    def _wanted(self, labels: Any) -> Tensor:
        """The labels that the scores are compared with.

        Raises:
            ConfigError: there are none among those by name.
        """
        if not isinstance(labels, Mapping):
            return labels
        if labels.get(self.label_name) is None:
            raise ConfigError(
                f"the batch has no {self.label_name}; allowed: {self.label_name} for what "
                f"compile() got, which is compared with {self.score_name}",
                hint=f"put {self.label_name} into the batch, or compile() without it",
            )
        return labels[self.label_name]

    def _counted(self, labels: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Labels, scores and weights for metrics; the weight of a class of -100 is 0."""
        labels = keras.ops.convert_to_tensor(labels)
        whole = "int" in str(keras.backend.standardize_dtype(labels.dtype))
        if not whole or scores.shape[-1] == 1 or labels.shape == scores.shape:  # not classes
            return labels, scores, None
        labels = keras.ops.reshape(labels, keras.ops.shape(scores)[:-1])
        if self.next_labels:
            labels, scores = labels[..., 1:], scores[..., :-1, :]
        counts = keras.ops.not_equal(labels, IGNORE_INDEX)
        # a metric may refuse a label that is no class, also where its weight is 0
        return keras.ops.where(counts, labels, keras.ops.zeros_like(labels)), scores, counts

    def _scores(self, out: Any) -> Tensor:
        """What targets are compared with: the logits of the model."""
        scores = out.get(self.score_name) if isinstance(out, ModelOutput) else None
        return out[0] if scores is None else scores

    def _labelled(self, data: Any) -> Any:
        """A batch of inputs by name; with the labels among them, if the loss is the model's own."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        asked = {} if self.config.use_return_dict else {"return_dict": True}
        inputs = self._by_name(x, y, **asked)
        if not self.own_loss:
            return keras.utils.pack_x_y_sample_weight(inputs, y, sample_weight)
        if sample_weight is not None:
            raise ConfigError(
                "sample weights were passed with the model's own loss; allowed: none",
                hint="pass compile(loss=...), or set labels to -100 to leave them out",
            )
        return (inputs,)

    def _by_name(self, x: Any, y: Any, **settings: Any) -> dict[str, Any]:
        """The arguments of `call`, with the targets as labels if the loss is the model's own."""
        inputs = named_arguments(self.call, (x,), settings)
        if y is None or not self.own_loss:
            return inputs
        return {**inputs, **(y if isinstance(y, Mapping) else {self.label_name: y})}

    @contextmanager
    def _checking(self, targets: bool = True) -> Iterator[Callable[..., Any]]:
        """Give a function that checks data; it returns the inputs as Keras takes them."""
        with checking(self._by_name, self.check_values, targets) as check:

            def checked(x: Any, y: Any = None) -> Any:
                if isinstance(x, Mapping):
                    x = dict(x)  # Keras takes a subclass of dict, as BatchEncoding, for one array
                x = check(x, y)
                if self.jit_compile and not self.run_eagerly and not self._announced:
                    self._announced = True
                    tell(
                        "compiling", what="fit(), evaluate() and predict()", each="shape of a batch"
                    )
                return x

            yield checked
