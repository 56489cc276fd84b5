"""Examples as token sequences with labels, ready to be batched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ogpt.data.unknown import notice_unknown_ids
from ogpt.errors import ConfigError, DataError
from ogpt.notices import tell
from ogpt.tasks.example import Example
from ogpt.tasks.example_sequences import example_sequences
from ogpt.tasks.labels import label_array
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tasks.transforms import Ids, Transform
from ogpt.tokens.bpe_tokenizer import BPETokenizer

OnTooLong = Literal["truncate", "error", "skip"]
"""What to do with an example that the model is too short for."""
_CUT = "allow cutting with --on-too-long truncate"


@dataclass(frozen=True, slots=True, eq=False)
class EncodedExamples:
    """Examples of one split as sequences."""

    sequences: list[list[Ids]]
    """For each example its sequences: one, two orders, or one for each choice."""
    labels: NDArray[Any] | None
    """(N,) classes, choices or scores; (N, labels) of 0 and 1; None: there are none."""
    kept: NDArray[np.int64]
    """(N,) index of each among the examples that were given; some may be skipped."""
    too_long: int
    """Examples that were cut or skipped."""
    cut: int
    """Tokens that were cut off."""

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def n_tokens(self) -> int:
        """Tokens of all sequences."""
        return sum(len(ids) for rows in self.sequences for ids in rows)


def encode_examples(
    examples: Sequence[Example],
    spec: TaskSpec,
    tokenizer: BPETokenizer,
    transform: Transform,
    *,
    on_too_long: OnTooLong = "truncate",
    what: str = "the examples",
) -> EncodedExamples:
    """Tokenize and transform examples (paper, figure 1).

    Args:
        examples: Of one split; all with labels, or none.
        spec: The task.
        tokenizer: With the task tokens.
        transform: For the model.
        on_too_long: Cut what does not fit, with a notice (`examples-cut`); raise an error; or leave
            such examples out, with a notice (`examples-skipped`).
        what: Name of the split, for messages.

    Raises:
        ConfigError: `on_too_long` is none of these.
        DataError: an example is too long and `on_too_long` is "error", a text has no tokens, or
            a label is not one of the task.
    """
    if on_too_long not in get_args(OnTooLong):
        raise ConfigError(
            f"on_too_long is {on_too_long!r}; allowed: {', '.join(get_args(OnTooLong))}",
            hint="omit it to cut what does not fit",
        )
    labels = label_array(examples, spec)
    texts = [text for example in examples for text in example.texts]
    ids = [row.tolist() for row in tokenizer.encode_batch_arrays(texts)]
    notice_unknown_ids(tokenizer, ids, what)
    sequences: list[list[Ids]] = []
    kept: list[int] = []
    too_long = cut = at = 0
    for index, example in enumerate(examples):
        parts = ids[at : at + len(example.texts)]
        at += len(parts)
        made = example_sequences(example, parts, spec.family, transform)
        if made.cut:
            too_long += 1
            if on_too_long == "error":
                place = example.place or f"example {index + 1}"
                raise DataError(
                    f"{place} is {made.cut} tokens too long for a model of "
                    f"{transform.n_positions} positions",
                    hint=f"{_CUT}, leave it out with skip, or use a model with more positions",
                )
            if on_too_long == "skip":
                continue
            cut += made.cut
        sequences.append(made.ids)
        kept.append(index)
    if too_long and on_too_long == "skip":
        tell("examples-skipped", what=what, count=too_long, total=len(examples))
    elif too_long:
        tell("examples-cut", what=what, count=too_long, total=len(examples), tokens=cut)
    index_array = np.array(kept, dtype=np.int64)
    return EncodedExamples(
        sequences, None if labels is None else labels[index_array], index_array, too_long, cut
    )


def check_some_kept(kept: int, total: int, n_positions: int, what: str) -> None:
    """Check that not all examples are skipped.

    Args:
        kept: Examples that are not.
        total: All of them.
        n_positions: Of the model.
        what: Name of the examples, for the message.

    Raises:
        DataError: all are.
    """
    if not kept:
        raise DataError(
            f"all {total} examples of {what} are too long for a model of {n_positions} positions, "
            "and are skipped",
            hint=_CUT,
        )
