"""Classification and multiple choice over any decoder: the heads of a fine-tuned model in numpy.

A head is one linear layer on the hidden state of the extract token (paper, section 3.3), or of the
last token of a text for a classifier of another program. The decoder computes the states, so that
no framework is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import WeightsError
from ogpt.evaluation.task_predictions import Prediction, task_predictions
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.texts.request import tell_unknown
from ogpt.notices import tell
from ogpt.tasks.example import Example, Problem
from ogpt.tasks.example_sequences import check_texts, example_sequences
from ogpt.tasks.task_rows import ROLES, example_of
from ogpt.tasks.task_spec import CONFIG_KEY, TaskSpec, task_of
from ogpt.tasks.task_tokens import task_tokens
from ogpt.tasks.transforms import Ids, Transform
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.weights.arrays import Array
from ogpt.weights.names import stored_names
from ogpt.weights.precision import as_floats
from ogpt.weights.shapes import weight_shapes

CLASSIFIER = "OpenAIGPTForSequenceClassification"

Logits = NDArray[np.float32]
"""(labels,), (K,) of the choices of an example, or (1,)."""


@dataclass(frozen=True, eq=False)
class TaskHead:
    """The task of a fine-tuned model, and its head; `TaskHead.open` reads them.

    Args:
        spec: The task.
        tokenizer: Of the model.
        transform: Makes the sequences of examples; None: they are texts as the tokenizer makes
            them.
        weight: (labels, C), or (1, C) for choices and scores.
        bias: (labels,) or (1,).
    """

    spec: TaskSpec
    tokenizer: BPETokenizer
    transform: Transform | None
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def open(cls, folder: ModelFolder) -> TaskHead:
        """Read the head of a model folder that `ogpt finetune` wrote, or of another classifier.

        Raises:
            ConfigError: the model was not fine-tuned on a task, and is no classifier.
            TokenizerError: its tokenizer has no task tokens.
            WeightsError: file or architecture lack the head, or it has another shape.
        """
        transform = None
        if has_task(folder) and not hasattr(folder.config, CONFIG_KEY):
            spec = _classification(folder)
        else:
            spec = task_of(folder.config, folder.path)
            tokens = task_tokens(folder.tokenizer)
            transform = Transform(tokens, folder.config.n_positions, spec.recipe == "2018-code")
        weight, bias = _head(folder, spec)
        return cls(spec, folder.tokenizer, transform, weight, bias)

    def examples(self, rows: Sequence[str | Mapping[str, Any]]) -> list[Example]:
        """The examples of rows, without their labels, which the model must not know.

        Args:
            rows: Mappings of columns as for `ogpt predict`, or texts for classification.

        Raises:
            DataError: a column is missing, or a text is no text.
        """
        spec, found = self.spec, []
        first = ROLES[spec.family][0]
        for number, row in enumerate(rows, 1):
            fields = row if isinstance(row, Mapping) else {spec.columns.get(first, first): row}
            made = example_of(fields, spec.family, spec.columns, f"example {number}")
            found.append(Example(made.texts, place=made.place, id=made.id))
        return found

    def sequences(self, examples: Sequence[Example]) -> list[list[Ids]]:
        """The sequences of each example: one, two orders, or one for each choice.

        What does not fit the model is cut, with the notice `examples-cut`.

        Args:
            examples: From `examples`.

        Raises:
            DataError: a text without tokens.
        """
        transform = self.transform
        return self._texts(examples) if transform is None else self._made(examples, transform)

    def logits(self, sequences: Sequence[Sequence[Ids]]) -> Callable[[Decoder], Iterator[Logits]]:
        """Make what computes the logits of examples with a decoder, one after the other.

        Args:
            sequences: From `sequences`.

        Returns:
            Work for `Engine.run`; it needs hidden states, and uses slot 0.
        """

        def work(decoder: Decoder) -> Iterator[Logits]:
            for rows in sequences:
                states = np.stack(list(_last_states(decoder, rows)))  # (K, C)
                scores = states.astype(np.float32) @ self.weight.T + self.bias  # (K, labels or 1)
                # both orders of a similarity are added (paper, section 3.3)
                yield scores[:, 0] if self.spec.family == "multiple-choice" else scores.sum(0)

        return work

    def predictions(
        self, examples: Sequence[Example], logits: Sequence[Logits]
    ) -> list[Prediction]:
        """The predictions for examples, as `ogpt predict` makes them.

        Args:
            examples: From `examples`.
            logits: Of each, from `logits`.

        Raises:
            DataError: logits that are NaN or infinite.
        """
        array = np.full((len(logits), max(map(len, logits), default=0)), -np.inf, np.float32)
        for row, found in zip(array, logits, strict=True):
            row[: len(found)] = found
        return task_predictions(self.spec, examples, range(len(logits)), array)

    def _texts(self, examples: Sequence[Example]) -> list[list[Ids]]:
        """The texts as the tokenizer makes them, each a sequence."""
        texts = [example.texts[0] for example in examples]
        rows: list[Ids] = self.tokenizer(texts, truncation=True)["input_ids"] if texts else []
        for example, ids in zip(examples, rows, strict=True):
            check_texts(example, [ids], self.spec.family)
        tell_unknown(self.tokenizer, [each for ids in rows for each in ids])
        return [[ids] for ids in rows]

    def _made(self, examples: Sequence[Example], transform: Transform) -> list[list[Ids]]:
        """The sequences of the task (paper, figure 1)."""
        texts = [text for example in examples for text in example.texts]
        ids = iter([row.tolist() for row in self.tokenizer.encode_batch_arrays(texts)])
        parts = [[next(ids) for _ in example.texts] for example in examples]
        tell_unknown(self.tokenizer, [each for rows in parts for row in rows for each in row])
        family = self.spec.family
        made = [
            example_sequences(example, rows, family, transform)
            for example, rows in zip(examples, parts, strict=True)
        ]
        cut = [each.cut for each in made if each.cut]
        if cut:
            what, total, tokens = "the request", len(made), sum(cut)
            tell("examples-cut", what=what, count=len(cut), total=total, tokens=tokens)
        return [each.ids for each in made]


def has_task(folder: ModelFolder) -> bool:
    """Whether a model was fine-tuned on a task, or is another program's classifier."""
    return folder.architecture == CLASSIFIER or hasattr(folder.config, CONFIG_KEY)


def _last_states(decoder: Decoder, rows: Sequence[Ids]) -> Iterator[NDArray[Any]]:
    """The state (C,) of the last token of each sequence; what all begin with is computed once."""
    shortest = min(map(len, rows)) - 1
    equal = (len(set(column)) == 1 for column in zip(*rows, strict=False))
    shared = min(shortest, sum(takewhile(bool, equal))) if len(rows) > 1 else 0
    decoder.free(0)
    if shared:
        decoder.run([Part(0, rows[0][:shared], "none")])
    for ids in rows:
        decoder.truncate(0, shared)
        computed = decoder.run([Part(0, ids[shared:], "none")], hidden=True)
        assert computed.hidden is not None
        yield computed.hidden[0][-1]


def _classification(folder: ModelFolder) -> TaskSpec:
    """What a classifier of another program does, by its configuration."""
    # without a problem_type, as the model's own loss
    usual: Problem = "single_label_classification"
    if folder.config.num_labels == 1:
        usual = "regression"
    stored = folder.config.problem_type
    problem: Problem = next((one for one in get_args(Problem) if one == stored), usual)
    labels = () if problem == "regression" else tuple(folder.labels)
    return TaskSpec(family="classification", problem=problem, labels=labels)


def _head(folder: ModelFolder, spec: TaskSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight and bias; a head without a bias has zeros."""
    prefix = "multiple_choice_head.summary." if spec.family == "multiple-choice" else "score."
    shapes = weight_shapes(folder.config, folder.architecture)
    wanted = {name: shape for name, shape in shapes.items() if name.startswith(prefix)}
    if not wanted:
        raise WeightsError(
            f"the model in {folder.path} is an {folder.architecture}, which has no head for the "
            f"task that it was fine-tuned on, {spec.family}",
            hint="restore config.json, or fine-tune the model again",
        )
    arrays = folder.weights if folder.quantized is None else folder.quantized_weights
    homes = stored_names(arrays, wanted)
    found: dict[str, NDArray[np.float32]] = {}
    for name, shape in wanted.items():
        array = arrays[homes[name]] if name in homes else None
        seen = array.shape if isinstance(array, Array) else None
        if not isinstance(array, Array) or seen != shape:
            raise WeightsError(
                f"{name} in {folder.path} is {seen or 'missing'}; allowed by the configuration: "
                f"{shape}",
                hint="check that config.json and the weights file belong together",
            )
        found[name] = as_floats(array).astype(np.float32)
    weight = found[f"{prefix}weight"]
    return weight, found.get(f"{prefix}bias", np.zeros(len(weight), np.float32))
