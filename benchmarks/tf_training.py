"""One optimizer step at GPT-1 size in float32: TensorFlow beside PyTorch, both of ogpt.

8 windows of 512 tokens, one micro-batch, dropout 0.1, AdamW and gradient clipping for all. Runs in
the environment of `make test-tf`; `make bench-tf` starts it. The first step, which traces and
compiles, is a figure of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.contenders import fill
from benchmarks.measuring import Result, Table, arguments, interleave, rates, save, spread, timed
from benchmarks.training_step import GPT1, SMOKE
from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import Batch
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.tensors import array_of
from ogpt.tf.heads import TFOpenAIGPTLMHeadModel
from ogpt.training.step import TrainStep
from ogpt.training.tf_objective import TFLanguageModeling
from ogpt.training.tf_step import TFTrainStep
from ogpt.training.torch_objective import TorchLanguageModeling
from ogpt.training.torch_step import TorchTrainStep

XLA = "TensorFlow, XLA"
TORCH = "PyTorch, compiled"
RATE = 1e-5
TOLERANCE = 0.01
"""Of the losses of the first steps, which have the same weights and batch. Dropout masks are the
same but for attention over more than 128 tokens: PyTorch has one for each block of queries."""


def tf_step(
    config: OpenAIGPTConfig, model: OpenAIGPTLMHeadModel, settings: TrainingSettings
) -> TFTrainStep:
    """The step in TensorFlow, from the weights of a PyTorch model."""
    other = TFOpenAIGPTLMHeadModel(config)
    other.load_arrays({name: array_of(value) for name, value in model.stored_tensors().items()})
    return TFTrainStep(TFLanguageModeling(other), settings, compiled=True)


def main() -> None:
    given = arguments(__doc__, 5, batch=8)
    shape = SMOKE if given.smoke else GPT1
    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    config = OpenAIGPTConfig(**shape)
    settings = TrainingSettings(
        batch_size=given.batch,
        micro_batch_size=given.batch,
        threads=given.threads,
        precision="float32",
    )
    model = OpenAIGPTLMHeadModel(config)
    fill(model)
    steps: dict[str, TrainStep] = {
        XLA: tf_step(config, model, settings),
        TORCH: TorchTrainStep(TorchLanguageModeling(model), settings, not given.smoke),
    }
    ids = np.random.default_rng(0).integers(
        0, config.vocab_size, (given.batch, config.n_positions + 1)
    )
    batch = Batch(np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:]))
    losses: dict[str, list[float]] = {name: [] for name in steps}

    def taken(name: str) -> Callable[[], float]:
        def take() -> float:
            number = len(losses[name])
            return timed(lambda: losses[name].append(steps[name].train([batch], number, RATE).loss))

        return take

    contenders = {name: taken(name) for name in steps}
    first = {name: contender() for name, contender in contenders.items()}
    samples = interleave(contenders, given.rounds)
    apart = max(abs(losses[name][0] - losses[TORCH][0]) for name in steps)
    if apart > TOLERANCE:
        raise SystemExit(f"the contenders do not do the same work: {losses}")
    tokens = given.batch * config.n_positions
    result = Result(
        "tf_training",
        "Training step in TensorFlow",
        {"shape": shape, "batch": given.batch},
        samples,
    )
    rows = [
        [name, spread(rates(tokens, seconds), 0), f"{first[name]:.1f}"]
        for name, seconds in samples.items()
    ]
    header = [
        f"float32, {given.batch} x {config.n_positions}",
        "tokens/s, median (lowest to highest)",
        "first step s",
    ]
    result.tables.append(Table(header, rows))
    result.target("times PyTorch", result.compare(XLA, TORCH), at_least=0.7)
    result.add_pairs()
    result.figures = {"losses": losses, "seconds_of_first_step": first}
    result.notes.append(
        "The losses of the first steps agree to 0.01: weights and batches are the same."
    )
    save(result, given)


if __name__ == "__main__":
    main()
