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
from ogpt.tf.base import TFModel
from ogpt.tf.inputs import named_arguments
from ogpt.tf.keras_checks import check_ids, checking
from ogpt.tf.keras_data import Collate, Row, keras_dataset, stacked
from ogpt.tf.tensors import Tensor


class TFTrainableModel(TFModel):
    """A model for Keras's training loop.

    Batches are what `call` takes, with labels among the inputs or as Keras's targets: `x`, or
    `(x, y)`, where y is one tensor or a mapping of the labels by name.
    """

    output_class: ClassVar[type[ModelOutput]]
    label_name: ClassVar[str] = "labels"
    """The argument of `call` that targets without a name are for."""

    own_loss = True
    """Whether fit() uses the loss that `call` returns; compile(loss=...) replaces it."""

    _announced = False  # whether the notice of XLA came since compile()

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **options: Any) -> None:
        """Prepare for fit() and evaluate().

        Args:
            optimizer: Of Keras.
            loss: Of Keras, for targets and logits; None: the model's own loss.
            **options: metrics, jit_compile, run_eagerly, ... as in keras.Model.compile.
        """
        self.own_loss = loss is None
        self._announced = False
        super().compile(optimizer=optimizer, loss=loss, **options)

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
        with self._checking() as checked:
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
        with self._checking() as checked:
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
            ConfigError: the model's own loss without labels.
        """
        if not self.own_loss:
            return super().compute_loss(x, y, _scores(y_pred), sample_weight, training)
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
        """
        wanted = x.get(self.label_name) if self.own_loss else y
        return super().compute_metrics(x, wanted, _scores(y_pred), sample_weight)

    def _labelled(self, data: Any) -> Any:
        """A batch with its labels among the inputs, if the loss is the model's own."""
        if not self.own_loss:
            return data
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None:
            raise ConfigError(
                "sample weights were passed with the model's own loss; allowed: none",
                hint="pass compile(loss=...), or set labels to -100 to leave them out",
            )
        return (self._by_name(x, y, return_dict=True),)

    def _by_name(self, x: Any, y: Any, **settings: Any) -> dict[str, Any]:
        """The arguments of `call`, with the targets as labels if the loss is the model's own."""
        inputs = named_arguments(self.call, (x,), settings)
        if y is None or not self.own_loss:
            return inputs
        return {**inputs, **(y if isinstance(y, Mapping) else {self.label_name: y})}

    @contextmanager
    def _checking(self) -> Iterator[Callable[..., Any]]:
        """Give a function that checks data; it returns the inputs as Keras takes them."""
        with checking(self._by_name, self.check_values) as check:

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


def _scores(out: Any) -> Tensor:
    """What a loss or metric of Keras's compares with the targets: the logits."""
    if not isinstance(out, ModelOutput):
        return out[0]
    logits = out.get("logits")
    return out[0] if logits is None else logits
