"""Log-probabilities of continuations under a model in training, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.protocol.likelihood import Choices, Scorer, check_finite
from ogpt.model.decoder.scores import score_hidden
from ogpt.model.language_model import LanguageModel
from ogpt.model.lstm import LSTMModel
from ogpt.training.common_prefix import joined_length, with_common_prefix
from ogpt.training.torch_objective import on_device
from ogpt.training.torch_step import TorchTrainStep


def torch_scorer(step: TorchTrainStep) -> Scorer:
    """A scorer with the weights that a training step has at the time of each call.

    It computes as `TrainStep.evaluate` does: without dropout, in the dtype of training. A batch has
    at most the tokens of a micro-batch.

    Args:
        step: Trains a language model.
    """
    model = step.model
    assert isinstance(model, LanguageModel)
    n_positions = model.config.n_positions
    # an LSTM reads each choice from the beginning: no mask hides one choice from another
    alone = isinstance(model.transformer, LSTMModel)

    def score(parts: Sequence[Choices]) -> list[list[NDArray[np.float32]]]:
        found: dict[int, NDArray[np.float32]] = {}
        groups = _joined(parts, 0 if alone else n_positions)
        for batch in _batches(groups, step.settings.micro_batch_size * n_positions):
            with step.evaluation():
                found.update(_scored(model, batch))
        in_order = (found[number] for number in range(len(found)))
        return [[next(in_order) for _ in part.ids] for part in parts]

    return score


class _JoinedChoices(NamedTuple):
    """Choices that are one row of a batch."""

    first: int
    """Number of the first one, counted over all."""
    inputs: list[list[int]]
    """Context and choice, without the last token, which is only predicted."""
    targets: list[list[int]]


def _joined(parts: Sequence[Choices], longest: int) -> Iterator[_JoinedChoices]:
    """The choices of a context together, so that it is computed once; if too long, each alone."""
    number = 0
    for part in parts:
        inputs = [[*part.context, *ids[:-1]] for ids in part.ids]
        size = len(inputs) if joined_length(inputs) <= longest else 1
        for start in range(0, len(inputs), size):
            chosen = slice(start, start + size)
            yield _JoinedChoices(number + start, inputs[chosen], part.ids[chosen])
        number += len(inputs)


def _batches(groups: Iterable[_JoinedChoices], budget: int) -> Iterator[list[_JoinedChoices]]:
    """Batches of similar lengths, of at most `budget` tokens with their padding."""
    batch: list[_JoinedChoices] = []
    for group in sorted(groups, key=lambda group: joined_length(group.inputs)):
        if batch and (len(batch) + 1) * joined_length(group.inputs) > budget:
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _scored(
    model: LanguageModel, batch: Sequence[_JoinedChoices]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Number of each choice, and the log-probabilities of its tokens."""
    made = with_common_prefix([group.inputs for group in batch], pad_id=0)
    ids, positions, visible = (on_device(each, model.device) for each in made[:3])
    of_attention = {"attention_mask": visible, "position_ids": positions}
    if isinstance(model.transformer, LSTMModel):  # padding stands on the right
        of_attention = {}
    hidden = model.transformer(ids, return_dict=True, **of_attention).last_hidden_state
    numbers = [group.first + nth for group in batch for nth in range(len(group.targets))]
    choices = [choice for group in batch for choice in group.targets]
    inputs = [(row, where) for row, each in enumerate(made.places) for where in each]
    # the tokens of a choice are predicted by the last of its inputs
    places = [where[-len(ids) :] for (_, where), ids in zip(inputs, choices, strict=True)]
    rows = np.repeat([row for row, _ in inputs], list(map(len, choices)))
    states = hidden[  # (B, T, C) -> (N, C)
        on_device(rows, model.device), on_device(np.concatenate(places), model.device)
    ]
    targets = [token for ids in choices for token in ids]
    scores = score_hidden(states, model.lm_head, targets, model.config.vocab_size, top=0)
    check_finite(scores.log_probs)
    ends = np.cumsum(list(map(len, choices)))[:-1]
    yield from zip(numbers, np.split(scores.log_probs, ends), strict=True)
