"""How well a model predicts a text: loss, perplexity, bits per byte, by sliding windows.

The documents are read end to end, as in training. A window holds n_positions tokens; the next one
begins `stride` tokens later and scores only what the last one did not, so every token is scored
once, and all but those of the first window are predicted from more than n_positions - stride
tokens. The first token of the text follows nothing and is not scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.bundle import load_tokenizer, read_config, resolve
from ogpt.data.documents import Document, documents
from ogpt.data.progress import Progress
from ogpt.data.sources import Specs, open_sources
from ogpt.decoding.choice import open_decoder
from ogpt.errors import ConfigError, DataError, DecoderError
from ogpt.generation.decoder import Decoder
from ogpt.reporting import Reporter, silent
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.training import measures

GROUP_CHARACTERS = 1 << 20  # tokenised at once


@dataclass(frozen=True, slots=True)
class PerplexityResult:
    """How well a model predicts a text."""

    loss: float
    """Nats for each token, over all tokens but the first."""
    perplexity: float
    """exp(loss); models with other vocabularies cannot be compared by it."""
    bits_per_byte: float
    """Loss in bits, times tokens for each UTF-8 byte of the text: comparable between vocabularies
    (Gao et al. 2020, "The Pile", section 3.1)."""
    tokens: int
    bytes: int
    unknown_tokens: int
    """Tokens that are <unk>: text that the model cannot see, and which is easy to predict."""


def perplexity(
    model: str | Path,
    data: Specs = (),
    *,
    text: str | None = None,
    stride: int = 0,
    encoding: str = "utf-8",
    decoder: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
    reporter: Reporter = silent,
) -> PerplexityResult:
    """Measure a model on a text. Memory does not grow with the text.

    Args:
        model: A model folder or a run.
        data: Sources of the text (see `ogpt.data.sources.open_sources`).
        text: The text itself, in place of data.
        stride: Tokens from one window to the next, 1 to n_positions; smaller gives each token
            more context and takes longer. 0: half of n_positions.
        encoding: Of text files.
        decoder: Which implementation scores (`ogpt.decoding.choice`).
        dtype: Precision of its weights.
        threads: Threads it may use; 0 for all cores.
        reporter: Told how far it is.

    Raises:
        ConfigError: not exactly one of data and text, or a stride outside its range.
        DataError: sources that cannot be read, or too little text.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
    """
    folder = resolve(model)
    config = read_config(folder)
    check_stride(stride, config.n_positions)
    reading = open_reading(load_tokenizer(folder, config), data, text, encoding)
    progress = Progress(reporter, "evaluating", sum(reading.sizes))
    with closing(
        open_decoder(folder, config=config, decoder=decoder, dtype=dtype, threads=threads)
    ) as opened:
        nats, scored = 0.0, 0
        for log_probs in score(opened, reading.ids(), stride):
            nats -= float(log_probs.sum(dtype="float64"))
            scored += len(log_probs)
            progress(reading.position * scored // reading.tokens)
    if not scored:
        raise DataError(
            f"the text has {reading.tokens} tokens; at least 2 are needed, as the first has no "
            "context to be predicted from",
            hint="evaluate on a longer text",
        )
    progress(progress.total)
    loss = nats / scored
    return PerplexityResult(
        loss=loss,
        perplexity=measures.perplexity(loss),
        bits_per_byte=measures.bits_per_byte(loss, reading.tokens, reading.n_bytes),
        tokens=reading.tokens,
        bytes=reading.n_bytes,
        unknown_tokens=reading.unknown,
    )


def score(
    decoder: Decoder, ids: Iterable[Sequence[int]], stride: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Score running text in the decoder's first slot, window by window.

    Args:
        decoder: Scores; its first slot is left empty.
        ids: The token ids in pieces of any length.
        stride: As in `perplexity`.

    Yields:
        The log-probabilities of a window's new tokens in nats, (T,).

    Raises:
        ConfigError: a stride outside its range.
        DecoderError: a log-probability that is not a number.
        TokenOutOfRange: an id outside the vocabulary.
    """
    check_stride(stride, decoder.n_positions)
    stride = stride or max(1, decoder.n_positions // 2)
    try:
        for window in windows(ids, decoder.n_positions, stride):
            decoder.free(0)
            if window.context:
                decoder.extend(0, window.context, "none")
            log_probs = decoder.score(0, window.ids, window.targets).log_probs
            check_finite(log_probs)
            yield log_probs
    finally:
        decoder.free(0)


def check_finite(log_probs: NDArray[np.float32]) -> None:
    """Check that log-probabilities are numbers.

    Raises:
        DecoderError: they are not.
    """
    total = float(log_probs.sum(dtype="float64"))
    if not math.isfinite(total):
        raise DecoderError(
            f"the log-probabilities of {len(log_probs)} tokens sum to {total}; they must be finite "
            "numbers",
            hint="the weights hold NaN or infinite values: use another checkpoint",
        )


class Window(NamedTuple):
    """What is read without being scored, and ids with the token that follows each."""

    context: list[int]
    ids: list[int]
    targets: list[int]


def windows(ids: Iterable[Sequence[int]], n_positions: int, stride: int) -> Iterator[Window]:
    """Cut running text into windows of at most n_positions tokens, `stride` apart.

    Every token but the first is a target once. The last window reaches back to a full one.
    """
    held: list[int] = []
    begin, end = 0, n_positions  # of held, what the next window scores
    for piece in ids:
        held.extend(piece)
        while len(held) > end:  # its last token needs a target
            yield _window(held, begin, end, n_positions)
            begin, end = end, end + stride
        forgotten = max(0, begin - n_positions)
        del held[:forgotten]
        begin, end = begin - forgotten, end - forgotten
    if len(held) - 1 > begin:
        yield _window(held, begin, len(held) - 1, n_positions)


def _window(held: list[int], begin: int, end: int, n_positions: int) -> Window:
    start = max(0, end - n_positions)
    return Window(held[start:begin], held[begin:end], held[begin + 1 : end + 1])


class Reading:
    """The token ids of documents, and counts of what was read so far.

    Args:
        texts: The documents.
        tokenizer: Of the model.
        sizes: Bytes of each of their sources.
    """

    def __init__(
        self, texts: Iterable[Document], tokenizer: BPETokenizer, sizes: Sequence[int]
    ) -> None:
        self.tokens = 0
        self.n_bytes = 0
        self.unknown = 0
        self.position = 0  # bytes of all sources
        self._texts = texts
        self._tokenizer = tokenizer
        self.sizes = sizes

    def ids(self) -> Iterator[list[int]]:
        """The ids of each document."""
        for group in self._groups():
            arrays = self._tokenizer.encode_batch_arrays([document.text for document in group])
            for document, ids in zip(group, arrays, strict=True):
                self.tokens += len(ids)
                self.n_bytes += len(document.text.encode(errors="replace"))
                self.unknown += int((ids == self._tokenizer.unk_token_id).sum())
                self.position = sum(self.sizes[: document.source]) + document.position
                yield ids.tolist()

    def _groups(self) -> Iterator[list[Document]]:
        group: list[Document] = []
        characters = 0
        for document in self._texts:
            group.append(document)
            characters += len(document.text)
            if characters >= GROUP_CHARACTERS:
                yield group
                group, characters = [], 0
        if group:
            yield group


def open_reading(
    tokenizer: BPETokenizer, data: Specs, text: str | None, encoding: str = "utf-8"
) -> Reading:
    """What `perplexity` reads.

    Raises:
        ConfigError: not exactly one of data and text.
        DataError: sources that cannot be found or opened.
    """
    if (text is None) == (not data):
        raise ConfigError(
            f"{'neither data nor' if text is None else 'both data and'} text given; allowed: one",
            hint="name sources of text, or give the text itself",
        )
    if text is None:
        sources = open_sources(data, encoding)
        return Reading(documents(sources), tokenizer, [source.size for source in sources])
    size = len(text.encode(errors="replace"))
    return Reading([Document(text, "text", 0, size)], tokenizer, [size])


def check_stride(stride: int, n_positions: int) -> None:
    """Check that windows can be so far apart.

    Raises:
        ConfigError: they cannot.
    """
    if not 0 <= stride <= n_positions:
        raise ConfigError(
            f"stride is {stride}; allowed: 1 to {n_positions}, or 0 for half of it",
            hint="leave it out for half a window",
        )
