"""A fine-tuned model in PyTorch, which predicts the labels of examples.

Multiple choice is computed once for what the choices of an example have in common: one sequence
holds the common beginning and after it each choice, which sees that beginning and itself alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt import processor
from ogpt.data.batch import Batch
from ogpt.errors import DataError
from ogpt.folders.model_folder import ModelFolder
from ogpt.model.architectures import model_class
from ogpt.reporting import Progress, Reporter, silent
from ogpt.tasks.batching import TaskBatches
from ogpt.tasks.encoded_examples import EncodedExamples, OnTooLong, encode_examples
from ogpt.tasks.example import Example
from ogpt.tasks.task_spec import task_of
from ogpt.tasks.task_tokens import task_tokens
from ogpt.tasks.transforms import Ids, Transform
from ogpt.training.torch_precision import choose_device
from ogpt.training.torch_task_objective import TaskModel, TorchTaskObjective

BATCH_SIZE = 64
"""Examples of a batch, sorted by length."""


class Predictions(NamedTuple):
    """What a model predicts for examples."""

    logits: NDArray[np.float32]
    """(N, labels), (N, K) or (N, 1); -inf for a choice that an example does not have."""
    encoded: EncodedExamples


class CommonPrefix(NamedTuple):
    """Examples of which the common beginning of all choices stands once, as a batch."""

    ids: NDArray[np.int64]
    """(B, T): the beginning, then the rest of each choice, then padding."""
    positions: NDArray[np.int64]
    """(B, T); each choice continues from the end of the beginning."""
    visible: NDArray[np.bool_]
    """(B, T, T): a query sees the beginning, and its own choice."""
    places: NDArray[np.int64]
    """(B, K): position of each extract token; 0 for a choice that is not there."""


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
            common_prefix: Whether what all choices have in common is computed once.
            reporter: Receives progress events.

        Raises:
            DataError: a text without tokens, a label that the task does not have, an example that
                is too long, or no example that is not skipped.
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
            raise DataError(
                f"all {len(examples)} examples of {what} are too long for a model of "
                f"{self.transform.n_positions} positions, and are skipped",
                hint="allow cutting with --on-too-long truncate",
            )
        source = TaskBatches(encoded, self.transform.tokens.delimiter)
        width = max(map(len, encoded.sequences))
        if self.spec.family != "multiple-choice":
            width = self.objective.head.out_features
        logits = np.full((len(encoded), width), -np.inf, dtype=np.float32)
        progress = Progress(reporter, "predicting", len(encoded), "examples")
        done = 0
        for indices, batch in source.by_length(BATCH_SIZE):
            fits = np.zeros(len(indices), dtype=bool)
            if common_prefix and self.spec.family == "multiple-choice":
                rows = [encoded.sequences[index] for index in indices]
                fits = np.array([joined_length(row) for row in rows]) <= self.transform.n_positions
                if fits.any():
                    part = self._shared([row for row, fit in zip(rows, fits, strict=True) if fit])
                    logits[indices[fits], : part.shape[1]] = part.cpu().numpy()
            rest = indices[~fits]
            if len(rest):
                part = self._logits(source.of(rest.tolist()) if fits.any() else batch)
                logits[rest, : part.shape[1]] = part.cpu().numpy()
            done += len(indices)
            progress(done)
        return Predictions(logits, encoded)

    def _logits(self, batch: Batch) -> Tensor:
        return self.objective.logits(batch, self.objective.hidden(batch))

    def _shared(self, rows: Sequence[Sequence[Ids]]) -> Tensor:
        """Logits (B, K), float32, of examples that fit the model's context when joined."""
        model = self.objective.model
        made = with_common_prefix(rows, self.transform.tokens.delimiter)
        ids, positions, visible, places = (torch.from_numpy(a).to(model.device) for a in made)
        hidden = model.transformer(
            ids, attention_mask=visible, position_ids=positions, return_dict=True
        ).last_hidden_state
        states = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
        scores: Tensor = self.objective.head(states)[..., 0].float()
        return scores.masked_fill(places == 0, -torch.inf)


def joined_length(sequences: Sequence[Ids]) -> int:
    """Tokens of the common beginning of all choices, and of the rest of each."""
    prefix = _common(sequences)
    return prefix + sum(len(ids) - prefix for ids in sequences)


def with_common_prefix(rows: Sequence[Sequence[Ids]], pad_id: int) -> CommonPrefix:
    """Put examples of multiple choice into one sequence each.

    Args:
        rows: The sequences of each example.
        pad_id: Token for padding.
    """
    B, K, T = len(rows), max(map(len, rows)), max(map(joined_length, rows))
    ids = np.full((B, T), pad_id, dtype=np.int64)
    positions = np.zeros((B, T), dtype=np.int64)
    visible: NDArray[Any] = np.zeros((B, T, T), dtype=bool)
    places = np.zeros((B, K), dtype=np.int64)
    for row, sequences in enumerate(rows):
        prefix = _common(sequences)
        ids[row, :prefix] = sequences[0][:prefix]
        positions[row, :prefix] = np.arange(prefix)
        visible[row, :, :prefix] = True
        at = prefix
        for choice, sequence in enumerate(sequences):
            end = at + len(sequence) - prefix
            ids[row, at:end] = sequence[prefix:]
            positions[row, at:end] = np.arange(prefix, len(sequence))
            visible[row, at:end, at:end] = True
            places[row, choice] = end - 1
            at = end
    return CommonPrefix(ids, positions, visible, places)


def _common(sequences: Sequence[Ids]) -> int:
    """Tokens that all sequences begin with, without their last one."""
    shortest = min(map(len, sequences)) - 1
    first = sequences[0]
    for place in range(shortest):
        if any(ids[place] != first[place] for ids in sequences):
            return place
    return shortest
