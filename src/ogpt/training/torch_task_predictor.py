"""A fine-tuned model in PyTorch, which predicts the labels of examples.

Multiple choice is computed once for what the choices of an example have in common
(`ogpt.training.common_prefix`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt import processor
from ogpt.config.lstm_config import LSTMConfig
from ogpt.folders.model_folder import ModelFolder
from ogpt.model.architectures import model_class
from ogpt.reporting import Progress, Reporter, silent
from ogpt.tasks.batching import TaskBatches
from ogpt.tasks.encoded_examples import EncodedExamples, OnTooLong, encode_examples
from ogpt.tasks.example import Example
from ogpt.tasks.task_spec import task_of
from ogpt.tasks.task_tokens import task_tokens
from ogpt.tasks.transforms import Ids, Transform
from ogpt.training.common_prefix import joined_length, with_common_prefix
from ogpt.training.torch_objective import on_device
from ogpt.training.torch_precision import choose_device
from ogpt.training.torch_task_objective import TaskModel, TorchTaskObjective

BATCH_SIZE = 64
"""Examples of a batch, sorted by length."""


class Predictions(NamedTuple):
    """What a model predicts for examples."""

    logits: NDArray[np.float32]
    """(N, labels), (N, K) or (N, 1); -inf for a choice that an example does not have."""
    encoded: EncodedExamples


class TorchTaskPredictor:
    """A fine-tuned model, which predicts.

    Args:
        folder: A model folder that `ogpt finetune` wrote.
        threads: CPU threads; 0 uses all cores.

    Raises:
        ConfigError: the model was not fine-tuned on a task.
        TokenizerError: its tokenizer has no task tokens.
    """

    def __init__(self, folder: ModelFolder, threads: int = 0) -> None:
        self.spec = task_of(folder.config, folder.path)
        self.tokenizer = folder.tokenizer
        tokens = task_tokens(self.tokenizer)
        always = self.spec.recipe == "2018-code"
        self.transform = Transform(tokens, folder.config.n_positions, always)
        torch.set_num_threads(threads or processor.cores())
        kind = model_class(folder.architecture, "predicting")
        model: TaskModel = kind.from_pretrained(  # type: ignore[assignment]  # of a task
            folder, dtype=torch.float32, device=choose_device()
        )
        self.objective = TorchTaskObjective(model, self.spec, lm_coef=0)
        # an LSTM reads each choice from the beginning: it has no mask that hides the others
        self.shares = self.spec.family == "multiple-choice" and not isinstance(
            folder.config, LSTMConfig
        )

    @torch.no_grad()
    def predict(
        self,
        examples: Sequence[Example],
        *,
        on_too_long: OnTooLong = "truncate",
        what: str = "the examples",
        common_prefix: bool = True,
        reporter: Reporter = silent,
    ) -> Predictions:
        """Predict examples, whose order is kept.

        Args:
            examples: With or without labels.
            on_too_long: What to do with those that the model is too short for.
            what: Name of the examples, for messages.
            common_prefix: Whether what all choices have in common is computed once; an LSTM never
                does that.
            reporter: Receives progress events.

        Returns:
            The logits of all examples that are not skipped; (0, 0) if all are.

        Raises:
            DataError: a text without tokens, a label that the task does not have, or an example
                that is too long.
        """
        encoded = encode_examples(
            examples,
            self.spec,
            self.tokenizer,
            self.transform,
            on_too_long=on_too_long,
            what=what,
        )
        if not len(encoded):
            return Predictions(np.empty((0, 0), dtype=np.float32), encoded)
        source = TaskBatches(encoded, self.transform.tokens.delimiter)
        width = max(map(len, encoded.sequences))
        if self.spec.family != "multiple-choice":
            width = self.objective.head.out_features
        logits = np.full((len(encoded), width), -np.inf, dtype=np.float32)
        progress = Progress(reporter, "predicting", len(encoded), "examples")
        done = 0
        for indices, batch in source.by_length(BATCH_SIZE):
            fits = np.zeros(len(indices), dtype=bool)
            if common_prefix and self.shares:
                rows = [encoded.sequences[index] for index in indices]
                fits = np.array([joined_length(row) for row in rows]) <= self.transform.n_positions
                if fits.any():
                    part = self._shared([row for row, fit in zip(rows, fits, strict=True) if fit])
                    logits[indices[fits], : part.shape[1]] = part.cpu().numpy()
            rest = indices[~fits]
            if len(rest):
                part = self.objective.predict(source.of(rest.tolist()) if fits.any() else batch)
                logits[rest, : part.shape[1]] = part.cpu().numpy()
            done += len(indices)
            progress(done)
        return Predictions(logits, encoded)

    def _shared(self, rows: Sequence[Sequence[Ids]]) -> Tensor:
        """Logits (B, K), float32, of examples that fit the model's context when joined."""
        model = self.objective.model
        made = with_common_prefix(rows, self.transform.tokens.delimiter)
        last = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)  # 0: no such choice
        for row, each in zip(last, made.places, strict=True):
            row[: len(each)] = [tokens[-1] for tokens in each]
        ids, positions, visible, places = (on_device(a, model.device) for a in (*made[:3], last))
        hidden = model.transformer(
            ids, attention_mask=visible, position_ids=positions, return_dict=True
        ).last_hidden_state
        states = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
        scores: Tensor = self.objective.head(states)[..., 0].float()
        return scores.masked_fill(places == 0, -torch.inf)
