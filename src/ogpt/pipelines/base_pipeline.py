"""The base of every pipeline: texts become token ids, ids become batches, batches become answers.

No answer depends on the other texts of its batch: padding is masked, and removed from results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from ogpt.errors import ConfigError, DataError, UnknownArgument
from ogpt.generation.texts.request import check_unicode
from ogpt.notices import tell
from ogpt.reporting import Progress, Reporter, silent
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.texts import as_texts

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text and its token ids."""

    text: str
    ids: list[int]
    backward: Sequence[int] = ()
    """Ids of a pair in the other order; empty where only the given order counts."""


class Pipeline(ABC):
    """A model and its tokenizer, called with texts; `ogpt.pipeline` makes one.

    One input gives one answer, a list gives a list, and an iterator gives an iterator that reads
    batch_size inputs at a time. The arguments of the pipeline are the defaults of every call.

    Args:
        model: On its device; it is used in evaluation mode, and its own mode is restored.
        tokenizer: The model's.
        batch_size: Number of inputs per batch.
        reporter: Receives progress events of a list of more than one input.
        **arguments: Arguments of the task, for every call.

    Raises:
        ConfigError: an argument outside its range.
        UnknownArgument: an argument that the task does not have.
    """

    task: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]]
    """Names of the arguments of a call."""

    def __init__(
        self,
        model: Any,
        tokenizer: BPETokenizer,
        *,
        batch_size: int = 1,
        reporter: Reporter = silent,
        **arguments: Any,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = check_batch_size(batch_size)
        self.reporter = reporter
        self.given = self.checked(arguments)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        found: torch.device = self.model.device
        return found

    @classmethod
    def checked(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Check arguments of the task, as far as that needs no model.

        Raises:
            ConfigError: one outside its range.
            UnknownArgument: one that the task does not have.
        """
        for name in arguments:
            if name not in cls.arguments:
                near = get_close_matches(name, cls.arguments, n=1, cutoff=0.6)
                raise UnknownArgument(
                    f"{cls.task} has no argument {name}; allowed: {', '.join(cls.arguments)}",
                    hint=f"did you mean {near[0]}?" if near else "omit it",
                )
        return dict(arguments)

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **arguments: Any) -> Any:
        """The answer to an input, or the answers to several.

        Args:
            inputs: A text, a list of texts, or an iterator over texts.
            batch_size: Number of inputs per batch; None: the pipeline's.
            **arguments: Arguments of the task, in place of the pipeline's.

        Raises:
            DataError: a text without tokens.
            TokenizerError: an input that is not a text.
            SamplingError: a text that is not Unicode.
            ConfigError, UnknownArgument: as for the pipeline itself.
        """
        size = self.batch_size if batch_size is None else check_batch_size(batch_size)
        asked = {**self.given, **self.checked(arguments)}
        if isinstance(inputs, str | Mapping):
            return self._answer([inputs], 1, asked)[0]
        if isinstance(inputs, Iterator):
            return self._stream(inputs, size, asked)
        return self._answer(inputs, size, asked)

    def _stream(self, inputs: Iterator[Any], size: int, asked: Mapping[str, Any]) -> Iterator[Any]:
        first = 1
        while batch := list(islice(inputs, size)):
            yield from self._answer(batch, size, asked, first)
            first += len(batch)

    def _answer(
        self, inputs: Any, size: int, asked: Mapping[str, Any], first_number: int = 1
    ) -> list[Any]:
        import torch

        from ogpt.model.evaluating import evaluating

        rows = self._rows(inputs, asked, first_number)
        for number, row in enumerate(rows, first_number):
            if not row.ids:
                raise DataError(
                    f"text {number}, {row.text!r}, has no tokens; at least one is required",
                    hint="omit empty texts",
                )
        reporter = self.reporter if len(rows) > 1 else silent
        progress = Progress(reporter, self.task, len(rows), "texts")
        answers: list[Any] = []
        with torch.no_grad(), evaluating(self.model):
            for first in range(0, len(rows), size):
                answers += self._answer_batch(rows[first : first + size], asked)
                progress(len(answers))
        return answers

    @abstractmethod
    def _rows(self, inputs: Any, asked: Mapping[str, Any], first_number: int) -> list[EncodedText]:
        """The token ids of each input; all notices are given here.

        `first_number` is what messages call the first of them.
        """

    @abstractmethod
    def _answer_batch(self, rows: Sequence[EncodedText], asked: Mapping[str, Any]) -> list[Any]:
        """One answer per row."""

    def _cut_rows(
        self, texts: Sequence[str], pairs: Sequence[str] | None, asked: Mapping[str, Any]
    ) -> list[EncodedText]:
        """The texts, truncated to fit the model unless truncation is False."""
        truncation = asked.get("truncation")
        if asked.get("padding"):
            tell_padding("padding")
        n_positions: int = self.model.config.n_positions
        ids = self.tokenizer(
            texts,
            pairs,
            truncation=True if truncation is None else truncation,
            max_length=min(asked.get("max_length") or n_positions, n_positions),
        )["input_ids"]
        return list(map(EncodedText, texts, ids))

    def _batch(self, rows: Sequence[EncodedText], side: str = "right") -> tuple[Tensor, Tensor]:
        """Token ids and their attention mask, (B, T) each."""
        import torch

        longest = max(len(row.ids) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            n = len(row.ids)
            kept = slice(n) if side == "right" else slice(longest - n, longest)
            ids[place, kept] = torch.tensor(row.ids)
            mask[place, kept] = 1
        return ids.to(self.device), mask.to(self.device)


def checked_texts(inputs: Any, first_number: int) -> list[str]:
    """Check that inputs are Unicode texts, and return them as a list.

    Tokenizers drop half surrogate pairs, which are not characters: bytes that are not UTF-8 reach
    Python as such, and an answer without them would be about another text.

    Raises:
        TokenizerError: one that is no text.
        SamplingError: one that is not Unicode.
    """
    texts = as_texts(inputs)
    for number, text in enumerate(texts, first_number):
        check_unicode(f"text {number}", text)
    return texts


def check_batch_size(batch_size: Any) -> int:
    """Check a batch size, and return it.

    Raises:
        ConfigError: not a whole number above 0.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise ConfigError(
            f"batch_size is {batch_size!r}; allowed: a whole number, 1 or more",
            hint="omit it for one text at a time",
        )
    return batch_size


def tell_padding(setting: str) -> None:
    """Give notice that an argument about padding has no effect."""
    tell(
        "setting-without-effect",
        setting=setting,
        reason="a pipeline pads each batch as needed, and removes the padding",
    )
