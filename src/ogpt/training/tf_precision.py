"""Device, dtype, compilation and threads of a TensorFlow run."""

from __future__ import annotations

import time

import tensorflow as tf

from ogpt import processor
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.notices import tell
from ogpt.training.run_precision import uses_bfloat16

_MEASURE_SECONDS = 0.5
"""The best of many products is taken: other work on the machine rarely disturbs all of them."""

_AMPERE = (8, 0)
"""The first compute capability of NVIDIA that multiplies bfloat16."""


def device_name() -> str:
    """The device that TensorFlow chooses: the GPU if there is one, otherwise the CPU."""
    return "cuda" if tf.config.list_physical_devices("GPU") else "cpu"


def choose_policy(precision: str) -> str:
    """The Keras dtype policy; see uses_bfloat16."""
    multiplies = processor.multiplies_bfloat16()
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        multiplies = details.get("compute_capability", (0, 0)) >= _AMPERE
    return "mixed_bfloat16" if uses_bfloat16(precision, multiplies) else "float32"


def set_threads(settings: TrainingSettings) -> None:
    """Use settings.threads CPU threads; 0 changes nothing.

    TensorFlow takes the number once, before its first use: later it is kept, with a notice.
    """
    threads = settings.threads
    if threads in (0, tf.config.threading.get_intra_op_parallelism_threads()):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        if threads != used_threads():
            reason = f"TensorFlow already runs in this process with {used_threads()}"
            tell("setting-without-effect", setting=f"threads={threads}", reason=reason)


def used_threads() -> int:
    """Number of CPU threads that TensorFlow computes with."""
    # 0: all cores
    return tf.config.threading.get_intra_op_parallelism_threads() or processor.cores()


def best_matrix_product(dtype: str) -> float:
    """Operations per second of the best of many large matrix multiplications; MFU's unit.

    Args:
        dtype: float32 or bfloat16.
    """
    best, spent = 0.0, 0.0
    rows, inner, columns = (2048, 1024, 4096) if device_name() == "cpu" else (8192, 8192, 8192)
    left = tf.cast(tf.random.stateless_normal((rows, inner), (0, 0)), dtype)
    right = tf.cast(tf.random.stateless_normal((inner, columns), (0, 1)), dtype)
    while spent < _MEASURE_SECONDS:
        begin = time.perf_counter()
        tf.matmul(left, right)[0, 0].numpy()  # waits for the product
        seconds = time.perf_counter() - begin
        best = max(best, 2.0 * rows * inner * columns / seconds)
        spent += seconds
    return best
