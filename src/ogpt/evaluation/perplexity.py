"""How well a model predicts a text: loss, perplexity, bits per byte, by sliding windows.

The documents are read end to end, as in training, and scored window by window
(`ogpt.generation.protocol.likelihood`). The first token of the text follows nothing and is not
scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ogpt.data.documents import Document, documents
from ogpt.data.sources import Specs, open_sources
from ogpt.decoding.choice import open_decoder
from ogpt.errors import ConfigError, DataError
from ogpt.folders.model_folder import load_tokenizer, read_config, resolve
from ogpt.generation.protocol.likelihood import check_stride, score
from ogpt.reporting import Progress, Reporter, silent
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
