"""Log-probabilities of continuations under a model in training, in batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.protocol.likelihood import Scorer
from ogpt.model.decoder.scores import score_hidden
from ogpt.model.language_model import LanguageModel
from ogpt.model.lstm import LSTMModel
from ogpt.training.joined_choices import JoinedBatch, scorer_in_batches
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
    # an LSTM reads each choice from the beginning: no mask hides one choice from another
    recurrent = isinstance(model.transformer, LSTMModel)

    def log_probs(batch: JoinedBatch) -> NDArray[np.float32]:
        ids, positions, visible = (on_device(each, model.device) for each in batch[:3])
        of_attention = {"attention_mask": visible, "position_ids": positions}
        if recurrent:  # padding stands on the right
            of_attention = {}
        with step.evaluation():
            hidden = model.transformer(ids, return_dict=True, **of_attention).last_hidden_state
            states = hidden[  # (B, T, C) -> (N, C)
                on_device(batch.rows, model.device), on_device(batch.places, model.device)
            ]
            targets = batch.targets.tolist()
            return score_hidden(
                states, model.lm_head, targets, model.config.vocab_size, top=0
            ).log_probs

    n_positions = model.config.n_positions
    budget = step.settings.micro_batch_size * n_positions
    return scorer_in_batches(log_probs, 0 if recurrent else n_positions, budget)
