"""`ogpt evaluate`: how well a model predicts a text, by sliding windows.

The documents are joined end to end, as in training, and scored window by window
(`ogpt.generation.protocol.likelihood`). The first token of the text has no context and is not
scored.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ogpt.data.sources import Specs
from ogpt.decoding.choice import open_decoder
from ogpt.errors import DataError
from ogpt.evaluation.tokenized_text import open_text
from ogpt.folders.model_folder import load_tokenizer, read_config, resolve
from ogpt.generation.protocol import perplexity as units
from ogpt.generation.protocol.likelihood import check_stride, score
from ogpt.reporting import Progress, Reporter, silent


@dataclass(frozen=True, slots=True)
class PerplexityResult:
    """How well a model predicts a text."""

    loss: float
    """Nats per token, over all tokens but the first."""
    perplexity: float
    """exp(loss); compare only models of one vocabulary by it."""
    bits_per_byte: float
    """Loss in bits, times tokens per UTF-8 byte of the text: comparable between vocabularies
    (Gao et al. 2020, "The Pile", section 3.1)."""
    tokens: int
    bytes: int
    unknown_tokens: int
    """Tokens that are <unk>: text that the model cannot see, and that is easy to predict."""


def evaluate(
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
    """Measure loss, perplexity and bits per byte of a text. Memory does not grow with the text.

    Args:
        model: A model folder or a run.
        data: Sources of the text (see `ogpt.data.sources.open_sources`).
        text: The text itself, in place of data.
        stride: Stride of the sliding window in tokens, 1 to n_positions. A smaller stride gives
            each token more context and takes longer. 0 uses half a window.
        encoding: Encoding of text files.
        decoder: Decoder that scores the text (`ogpt.decoding.choice`).
        dtype: Precision of the weights.
        threads: Number of CPU threads; 0 uses all cores.
        reporter: Receives progress events.

    Raises:
        ConfigError: not exactly one of data and text, or a stride outside its range.
        DataError: sources that cannot be read, or too little text.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
    """
    folder = resolve(model)
    config = read_config(folder)
    check_stride(stride, config.n_positions)
    read = open_text(load_tokenizer(folder, config), data, text, encoding)
    progress = Progress(reporter, "evaluating", sum(read.sizes))
    with closing(
        open_decoder(folder, config=config, decoder=decoder, dtype=dtype, threads=threads)
    ) as opened:
        nats, scored = 0.0, 0
        for log_probs in score(opened, read.ids(), stride):
            nats -= float(log_probs.sum(dtype="float64"))
            scored += len(log_probs)
            progress(read.position * scored // read.tokens)
    if not scored:
        raise DataError(
            f"the text has {read.tokens} tokens; at least 2 are needed, as the first has no "
            "context to be predicted from",
            hint="evaluate on a longer text",
        )
    progress(progress.total)
    loss = nats / scored
    return PerplexityResult(
        loss=loss,
        perplexity=units.perplexity(loss),
        bits_per_byte=units.bits_per_byte(loss, read.tokens, read.n_bytes),
        tokens=read.tokens,
        bytes=read.n_bytes,
        unknown_tokens=read.unknown,
    )
