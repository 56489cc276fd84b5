"""Values of data that a compiled step cannot check, checked before fit(), evaluate(), predict()."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import OgptError
from ogpt.tf.inputs import check_range, is_tensor

Arrays = Mapping[str, NDArray[Any]]
"""Arguments of a model's call by name."""


def whole(given: Arrays, name: str) -> NDArray[Any] | None:
    """The argument of this name if it holds integers; `call` itself refuses other dtypes.

    Args:
        given: Arguments of `call` by name.
        name: Of one of them.
    """
    found = given.get(name)
    return found if found is not None and found.ndim and found.dtype.kind in "iu" else None


def axes_of(given: Arrays) -> tuple[int, ...]:
    """The axes of the input up to T; none without an input, which `call` refuses.

    Args:
        given: Arguments of `call` by name.
    """
    if "input_ids" in given:
        return given["input_ids"].shape
    return given["inputs_embeds"].shape[:-1] if "inputs_embeds" in given else ()


def check_ids(given: Arrays, config: OpenAIGPTConfig) -> None:
    """Check that every id has an embedding.

    Args:
        given: Arguments of `call` by name.
        config: Of the model.

    Raises:
        TokenOutOfRange: an id has none.
    """
    for name, what, rows in (
        ("input_ids", "token id", config.vocab_size),
        ("token_type_ids", "token type id", config.vocab_size),
        ("position_ids", "position id", config.n_positions),
    ):
        if (ids := whole(given, name)) is not None:
            check_range(ids, rows, what)


@contextmanager
def checking(
    by_name: Callable[[Any, Any], Mapping[str, Any]],
    check: Callable[[Arrays], None],
    targets: bool,
) -> Iterator[Callable[[Any, Any], Any]]:
    """Give a function that takes inputs and targets, and returns the inputs, checked.

    Those in memory are checked at once. A tf.data.Dataset checks each batch when it makes it, on
    the CPU whatever the step runs on; its error arrives as one of TensorFlow's, and leaves here as
    ours. Batches of a generator or a keras.utils.PyDataset are not checked.

    Args:
        by_name: The arguments of the model's call, from inputs and targets.
        check: Checks them; it raises one of our errors.
        targets: Whether the step uses the targets of a data set; that of predict() does not.
    """
    refusals: list[OgptError] = []

    def passes(names: list[str], *arrays: NDArray[Any]) -> bool:
        try:
            check(dict(zip(names, arrays, strict=True)))
        except OgptError as error:
            refusals.append(error)
            return False
        return True

    def checked_batch(*batch: Any) -> Any:
        given = batch[0] if len(batch) == 1 else batch
        x, y, _ = keras.utils.unpack_x_y_sample_weight(given)
        named = by_name(x, y if targets else None)
        tensors = {name: one for name, one in named.items() if tf.is_tensor(one)}
        right = tf.numpy_function(partial(passes, [*tensors]), [*tensors.values()], tf.bool)
        tf.debugging.Assert(tf.ensure_shape(right, ()), ["a value of the batch is refused"])
        return given

    def checked(x: Any, y: Any = None) -> Any:
        if isinstance(x, tf.data.Dataset):
            return x.map(checked_batch)
        if is_tensor(x) or isinstance(x, dict | list | tuple):
            given = by_name(x, y)
            check({name: np.asarray(one) for name, one in given.items() if is_tensor(one)})
        return x

    try:
        yield checked
    except tf.errors.OpError:
        if refusals:
            raise refusals[0] from None
        raise
