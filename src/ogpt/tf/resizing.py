"""Change the shape of what is built: rows of an embedding, heads of attention, whole layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from ogpt.tf.tensors import Tensor


def replace_layer(owner: keras.layers.Layer, name: str, new: keras.layers.Layer) -> None:
    """Set a layer in place of another, which Keras would otherwise keep listing and training.

    Args:
        owner: The layer or model that has it.
        name: The attribute.
        new: The layer to set.
    """
    layers, old = owner._layers, getattr(owner, name)
    # where a new model has it: files store an optimizer's state in the order of the layers
    place = layers.index(old) if old in layers else 1  # a first head follows the transformer
    owner._tracker.unlock()  # what is built takes no new layer otherwise
    owner._tracker.untrack(old)
    setattr(owner, name, new)
    layers.insert(place, layers.pop())


def replace_weight(layer: keras.layers.Layer, name: str, values: Tensor) -> None:
    """Set a weight of another shape in place of one, frozen if that is.

    Args:
        layer: The layer that has it.
        name: The attribute.
        values: Of the new weight.
    """
    old = getattr(layer, name)
    layer._tracker.unlock()  # as in replace_layer
    layer._untrack_variable(old)
    start = keras.initializers.Zeros()
    new = layer.add_weight(values.shape, start, dtype=old.dtype, trainable=old.trainable, name=name)
    new.assign(values)
    setattr(layer, name, new)


def prune(attention: Any, heads: Iterable[int]) -> None:
    """Remove these heads from the weights; heads that are already removed are skipped.

    Args:
        attention: A TFAttention.
        heads: Numbered as in the unpruned model.
    """
    gone = set(heads)
    stay = [place for place, head in enumerate(attention.kept_heads) if head not in gone]
    c_attn, c_proj = attention.c_attn, attention.c_proj
    for layer, name, axis in ((c_attn, "weight", -1), (c_attn, "bias", -1), (c_proj, "weight", 0)):
        old = ops.convert_to_tensor(getattr(layer, name))
        # the axis is (3 for query, key and value, or 1; n_head; head_dim)
        places = np.arange(old.shape[axis]).reshape(-1, attention.n_head, attention.head_dim)
        replace_weight(layer, name, ops.take(old, places[:, stay].ravel(), axis=axis))
    # unchanged, but `.keras` files have the weights of a layer in the order they were made in
    replace_weight(c_proj, "bias", ops.convert_to_tensor(c_proj.bias))
    attention.kept_heads = [attention.kept_heads[place] for place in stay]
    attention.n_head = len(stay)


def resized(weight: Tensor, rows: int, std: float | None = None) -> Tensor:
    """A weight with another number of rows: the last ones are cut off, or new ones appended.

    Args:
        weight: (V, C).
        rows: New number of rows, 1 or more.
        std: Initialize new rows from N(0, std). None: new rows are the mean of the old ones, so
            that no new token is more probable than a common one.
    """
    count, width = max(0, rows - weight.shape[0]), weight.shape[1]
    # Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models".
    if std is None:
        mean = ops.mean(ops.cast(weight, "float32"), axis=0, keepdims=True)
        new = ops.broadcast_to(ops.cast(mean, weight.dtype), (count, width))
    else:
        new = keras.random.normal((count, width), 0.0, std, weight.dtype)
    return ops.concatenate([weight[:rows], new])
