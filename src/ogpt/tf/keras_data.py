"""Rows of a data set as batches for fit(): what prepare_tf_dataset of every model does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ogpt.errors import ConfigError

Row = Mapping[str, Any]
Collate = Callable[[list[dict[str, Any]]], Mapping[str, Any]]
"""Rows -> one array for each column."""

_LABEL_NAMES = {"label": "labels", "label_ids": "labels"}
"""Columns of data sets that stand for labels, as transformers' collators rename them."""


def stacked(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of equal lengths as one array for each column.

    Raises:
        ConfigError: rows of a column differ in length.
    """
    made = {}
    for name in rows[0]:
        column = [np.asarray(row[name]) for row in rows]
        shapes = {one.shape for one in column}
        if len(shapes) > 1:
            raise ConfigError(
                f"rows of {name} have the shapes {sorted(shapes)}; allowed: one shape in a batch",
                hint="pass tokenizer=, which fills up shorter rows, or collate_fn=",
            )
        made[name] = np.stack(column)
    return made


def keras_dataset(
    rows: Sequence[Row],
    arguments: Sequence[str],
    collate: Collate,
    *,
    batch_size: int,
    shuffle: bool,
    drop_remainder: bool,
    prefetch: bool,
) -> tf.data.Dataset:
    """Batches of inputs and labels, `(x, y)`, or of inputs alone.

    Args:
        rows: A sequence of mappings, such as a datasets.Dataset or a list.
        arguments: Those of the model's call; other columns are dropped.
        collate: Makes a batch of rows.
        batch_size: 1 or more.
        shuffle: Whether to shuffle, again in each epoch.
        drop_remainder: Whether to drop a last batch that is smaller.
        prefetch: Whether to make the next batch while the last one is in use.

    Raises:
        ConfigError: there are no rows, or no column is an argument of the model.
    """
    if not len(rows):
        raise ConfigError("the data set has no rows; allowed: one or more", hint="pass other rows")

    def chosen(index: int) -> dict[str, Any]:
        row = {_LABEL_NAMES.get(name, name): value for name, value in rows[index].items()}
        return {name: value for name, value in row.items() if name in arguments}

    if not chosen(0):
        raise ConfigError(
            f"the columns are {', '.join(rows[0]) or 'none'}; allowed: {', '.join(arguments)}",
            hint="tokenize the texts first: the model takes ids",
        )
    # made at once, outside TensorFlow, which would wrap the errors of a collator
    rows_of_first = [chosen(index) for index in range(min(batch_size, len(rows)))]
    first = {name: np.asarray(value) for name, value in collate(rows_of_first).items()}
    names = list(first)
    labels = [name for name in names if name.endswith("labels")]

    def load(indices: Any) -> list[Any]:
        made = collate([chosen(int(index)) for index in indices])
        return [np.asarray(made[name], first[name].dtype) for name in names]

    def batch(indices: Any) -> Any:
        found = tf.numpy_function(load, [indices], [first[name].dtype for name in names])
        arrays = dict(zip(names, found, strict=True))
        for name, array in arrays.items():
            array.set_shape([None] * first[name].ndim)
        inputs = {name: array for name, array in arrays.items() if name not in labels}
        if not labels:
            return inputs
        return inputs, arrays[labels[0]] if labels == ["labels"] else {
            name: arrays[name] for name in labels
        }

    data = tf.data.Dataset.range(len(rows))
    if shuffle:
        data = data.shuffle(len(rows))
    data = data.batch(batch_size, drop_remainder=drop_remainder).map(batch)
    return data.prefetch(tf.data.AUTOTUNE) if prefetch else data
