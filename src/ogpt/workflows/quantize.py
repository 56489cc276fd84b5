"""`ogpt quantize`: a model folder of fewer bits, and what it costs on a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ogpt.data.sources import Specs
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.native.library import load_library
from ogpt.decoding.rounding import TARGETS, write_rounded
from ogpt.errors import ConfigError, DataError, DecoderError, OutputExists
from ogpt.evaluation.tokenized_text import open_text
from ogpt.folders.model_folder import load_tokenizer, resolve
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.likelihood import windows
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.protocol.perplexity import perplexity
from ogpt.layout import CARD_FILE, weights_files
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import whole_folder
from ogpt.weights.model_weights import folder_config

DEFAULT_TEXT = "builtin:python-docs"
_ROWS = 32  # logits of both models in memory at once


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two models predict the same text, token by token."""

    tokens: int
    """Predicted; the first of the text is not."""
    original_loss: float
    """Nats for each token."""
    loss: float
    """Of the other model."""
    original_perplexity: float
    perplexity: float
    kl_divergence: float
    """Mean of KL(original || other) over the tokens, in nats."""
    top_1_agreement: float
    """Share of the tokens for which both hold the same one most likely."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What was made."""

    folder: Path
    to: str
    original_bytes: int
    """Of the weights files."""
    weights_bytes: int
    comparison: Comparison


def quantize(
    model: str | Path,
    out: str | Path,
    *,
    to: str = "int8",
    text: str | None = None,
    data: Specs = (),
    max_tokens: int = 4096,
    encoding: str = "utf-8",
    threads: int = 0,
    reporter: Reporter = silent,
) -> Quantisation:
    """Make a model folder of fewer bits, and compare it with the original on a text.

    int8 and int4 round the matrices and the token embedding in groups of 64 weights; only the
    native decoder reads such a folder. A bf16 folder is an ordinary one. The original stays as it
    is; `out` is written whole or not at all.

    Args:
        model: A model folder or a run.
        out: The folder to make.
        to: int8, int4 or bf16.
        text: To compare on.
        data: Sources of the text to compare on; neither: Python's documentation.
        max_tokens: Tokens of the text that are read, 2 or more; 0 for all.
        encoding: Of text files.
        threads: CPU threads; 0: all cores.
        reporter: Told how far it is.

    Raises:
        OutputExists: `out` exists.
        ConfigError: a value outside its range, both text and data, or a model that the native
            decoder cannot run.
        DataError: sources that cannot be read, or too little text.
        BackendMissing: the native core is not built.
        CheckpointError, TokenizerError, WeightsError: a model that is missing, damaged or quantised
            already.
        StorageError: the disk is full or refuses.
    """
    out = Path(out)
    if to not in TARGETS:
        raise ConfigError(
            f"to is {to!r}; allowed: {', '.join(TARGETS)}", hint="int8 is nearest to the original"
        )
    if max_tokens < 0 or max_tokens == 1:
        raise ConfigError(
            f"max_tokens is {max_tokens}; allowed: 2 or more, or 0 for the whole text",
            hint="leave it out for a comparison that takes seconds",
        )
    if out.exists():
        raise OutputExists(f"{out} exists already", hint="choose another folder, or delete it")
    load_library()
    source = resolve(model)
    config = folder_config(source)
    if text is None and not data:
        data = DEFAULT_TEXT
    reading = open_text(load_tokenizer(source, config), data, text, encoding)

    def progress(done: int, total: int) -> None:
        rounding.total = total
        rounding(done)

    rounding = Progress(reporter, "quantising", 0, "arrays")
    with whole_folder(out) as folder:
        write_rounded(source, folder, to, progress, threads)
        with (
            closing(open_decoder(source, decoder="native", dtype="float32", threads=threads)) as a,
            closing(open_decoder(folder, decoder="native", threads=threads)) as b,
        ):
            measured = compare(a, b, _first(reading.ids(), max_tokens), max_tokens, reporter)
        _add_to_card(folder, to, measured)
        weights_bytes = _weights_bytes(folder)
    return Quantisation(out, to, _weights_bytes(source), weights_bytes, measured)


def compare(
    original: Decoder,
    other: Decoder,
    ids: Iterable[Sequence[int]],
    total: int = 0,
    reporter: Reporter = silent,
) -> Comparison:
    """Compare two models of one vocabulary on running text, by windows half of which overlap.

    Args:
        original: Scores in its first slot, which is left empty.
        other: The same.
        ids: Token ids in pieces of any length.
        total: Tokens that are expected; 0: not known.
        reporter: Told how far it is.

    Raises:
        DataError: fewer than two tokens.
        DecoderError: logits that are not numbers.
    """
    progress = Progress(reporter, "comparing", max(total - 1, 0), "tokens")
    tokens = same = 0
    losses = np.zeros(2)
    divergence = 0.0
    for log_probs, targets in _log_probs((original, other), ids):
        one, two = log_probs
        rows = np.arange(len(targets))
        losses -= [one[rows, targets].sum(), two[rows, targets].sum()]
        divergence += float((np.exp(one) * (one - two)).sum())
        same += int((one.argmax(1) == two.argmax(1)).sum())
        tokens += len(targets)
        progress(tokens)
    if not tokens:
        raise DataError(
            "the text has fewer than 2 tokens; the first has no context to be predicted from",
            hint="compare on a longer text",
        )
    progress.total = tokens
    progress(tokens)
    first, second = (losses / tokens).tolist()
    return Comparison(
        tokens=tokens,
        original_loss=first,
        loss=second,
        original_perplexity=perplexity(first),
        perplexity=perplexity(second),
        kl_divergence=divergence / tokens,
        top_1_agreement=same / tokens,
    )


def _log_probs(
    decoders: Sequence[Decoder], ids: Iterable[Sequence[int]]
) -> Iterator[tuple[list[NDArray[np.float64]], list[int]]]:
    """For a few tokens at a time: each decoder's log-probabilities (T, V), and the targets (T,)."""
    n_positions = min(decoder.n_positions for decoder in decoders)
    try:
        for window in windows(ids, n_positions, max(1, n_positions // 2)):
            for decoder in decoders:
                decoder.free(0)
                if window.context:
                    decoder.run([Part(0, window.context, "none")])
            for at in range(0, len(window.ids), _ROWS):
                part, targets = window.ids[at : at + _ROWS], window.targets[at : at + _ROWS]
                parts = [Part(0, part, "all")]
                yield [_normalised(decoder.run(parts).logits) for decoder in decoders], targets
    finally:
        for decoder in decoders:
            decoder.free(0)


def _normalised(logits: Logits) -> NDArray[np.float64]:
    """Log-probabilities (T, V) of logits."""
    wide: NDArray[np.float64] = np.array(logits, np.float64)
    if not np.isfinite(wide).all():
        raise DecoderError(
            f"{int((~np.isfinite(wide)).sum())} of {wide.size} logits are NaN or infinite; they "
            "must be finite numbers",
            hint="the weights are too large for this precision: use another checkpoint",
        )
    wide -= wide.max(1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(1, keepdims=True))
    return wide


def _first(pieces: Iterable[Sequence[int]], count: int) -> Iterator[Sequence[int]]:
    """The first `count` ids of the pieces; 0: all."""
    left = count
    for piece in pieces:
        yield piece[:left] if count else piece
        left -= len(piece)
        if count and left <= 0:
            return


def _weights_bytes(folder: Path) -> int:
    files = weights_files(file.name for file in folder.glob("*")).files
    return sum((folder / name).stat().st_size for name in files)


def _add_to_card(folder: Path, to: str, measured: Comparison) -> None:
    """Say in the card what this folder is, below what the original's card says."""
    reads = (
        "Any program that reads the original reads it."
        if to == "bf16"
        else "The weights are rounded in groups of 64; only the native decoder of ogpt reads them."
    )
    with open(folder / CARD_FILE, "a", encoding="utf-8") as card:
        card.write(
            f"\n## Quantised to {to}\n\n"
            f"This folder was made of the model above by `ogpt quantize`. {reads}\n\n"
            f"| over {measured.tokens:,} tokens | original | {to} |\n|---|---|---|\n"
            f"| loss (nats/token) | {measured.original_loss:.4f} | {measured.loss:.4f} |\n"
            f"| perplexity | {measured.original_perplexity:.3f} | {measured.perplexity:.3f} |\n\n"
            f"KL divergence {measured.kl_divergence:.2g} nats, the same token most likely for "
            f"{measured.top_1_agreement:.1%}.\n"
        )
