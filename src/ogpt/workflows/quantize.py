"""`ogpt quantize`: a quantized model folder, and the change in loss on a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ogpt.config.lstm_config import LSTMConfig
from ogpt.data.sources import TEXT_FIELD, Specs
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.native.library import load_library
from ogpt.decoding.options import DecoderOptions
from ogpt.decoding.rounding import TARGETS, write_rounded
from ogpt.errors import ConfigError
from ogpt.evaluation.comparison import Comparison, compare
from ogpt.evaluation.tokenized_text import open_text
from ogpt.folders.model_folder import ModelFolder
from ogpt.layout import CARD_FILE
from ogpt.notices import tell
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import check_empty, check_writable, path_of, whole_folder

DEFAULT_TEXT = "builtin:python-docs"


@dataclass(frozen=True, slots=True)
class Quantization:
    """A quantized model folder, compared with its original."""

    folder: Path
    to: str
    original_bytes: int
    """Size of the original's weights files."""
    weights_bytes: int
    """Size of the new weights files."""
    comparison: Comparison | None
    """None of a model without a tokenizer."""


def quantize(
    model: str | Path | ModelFolder,
    out: str | Path,
    *,
    to: str = "int8",
    text: str | None = None,
    data: Specs = (),
    max_tokens: int = 4096,
    encoding: str = "utf-8",
    text_field: str = TEXT_FIELD,
    threads: int = 0,
    reporter: Reporter = silent,
) -> Quantization:
    """Quantize a model, and compare it with the original on a text.

    int8 and int4 round the matrices and the token embedding in groups of 64 weights; only the
    native decoder reads such a folder. A bf16 folder is an ordinary model folder. The original is
    not changed; `out` is written whole or not at all.

    Args:
        model: A model folder, a run, or an id of the Hub.
        out: Folder to create, or an empty one to fill.
        to: int8, int4 or bf16.
        text: Text to compare on.
        data: Sources of the text to compare on. Without text and data, this is Python's
            documentation; a model without a tokenizer is then not compared, with the notice
            `comparison-omitted`.
        max_tokens: Maximum number of tokens to compare on, 2 or more; 0 uses the whole text.
        encoding: Encoding of text files.
        text_field: Field or column of .jsonl and .parquet files that holds the text.
        threads: Number of CPU threads; 0 uses all cores.
        reporter: Receives progress events.

    Raises:
        OutputExists: `out` holds files.
        ConfigError: a value outside its range, both text and data, or a model that the native
            decoder cannot run.
        DataError: sources that cannot be read, or too little text.
        BackendMissing: the native core is not built.
        CheckpointError, TokenizerError, WeightsError: a model that is missing, damaged or already
            quantized.
        StorageError: the disk is full, or writing is not permitted.
    """
    out = path_of(out, "out")
    if to not in TARGETS:
        raise ConfigError(
            f"to is {to!r}; allowed: {', '.join(TARGETS)}",
            hint="use int8, which is closest to the original",
        )
    if max_tokens < 0 or max_tokens == 1:
        raise ConfigError(
            f"max_tokens is {max_tokens}; allowed: 2 or more, or 0 for the whole text",
            hint="omit it for a comparison that takes seconds",
        )
    native = DecoderOptions(decoder="native", threads=threads)
    check_empty(out)
    check_writable(out)
    load_library()
    source = ModelFolder.open(model)
    if isinstance(source.config, LSTMConfig):
        raise ConfigError(
            f"the model in {source.path} is an LSTM; allowed: a transformer",
            hint="use the model as it is: the native decoder cannot run it",
        )
    read = None
    if text is not None or data or source.has_tokenizer:
        given = data if text is not None or data else DEFAULT_TEXT
        read = open_text(source.tokenizer, given, text, encoding, text_field)
    else:
        tell("comparison-omitted", path=source.path)

    def progress(done: int, total: int) -> None:
        rounding.total = total
        rounding(done)

    rounding = Progress(reporter, "quantizing", 0, "arrays")
    with whole_folder(out) as folder:
        write_rounded(source.path, folder, to, progress, threads)
        made = ModelFolder.open(folder)
        measured = None
        if read is not None:
            with (
                closing(open_decoder(source, native, dtype="float32")) as original,
                closing(open_decoder(made, native)) as other,
            ):
                ids = _first(read.ids(), max_tokens)
                measured = compare(original, other, ids, max_tokens, reporter)
        _add_to_card(folder, to, measured)
        weights_bytes = made.weights_bytes
    return Quantization(out, to, source.weights_bytes, weights_bytes, measured)


def _first(pieces: Iterable[Sequence[int]], count: int) -> Iterator[Sequence[int]]:
    """The first `count` ids of the pieces; 0: all of them."""
    left = count
    for piece in pieces:
        yield piece[:left] if count else piece
        left -= len(piece)
        if count and left <= 0:
            return


def _add_to_card(folder: Path, to: str, measured: Comparison | None) -> None:
    """Append the comparison to the card, below the text of the original's card."""
    reads = (
        "Every program that loads the original loads it."
        if to == "bf16"
        else "The weights are rounded in groups of 64; only the native decoder of ogpt loads them."
    )
    with open(folder / CARD_FILE, "a", encoding="utf-8") as card:
        card.write(
            f"\n## Quantized to {to}\n\n"
            f"`ogpt quantize` made this folder from the model above. {reads}\n"
        )
        if measured is None:
            return
        card.write(
            f"\n| over {measured.tokens:,} tokens | original | {to} |\n|---|---|---|\n"
            f"| loss (nats/token) | {measured.original_loss:.4f} | {measured.loss:.4f} |\n"
            f"| perplexity | {measured.original_perplexity:.3f} | {measured.perplexity:.3f} |\n\n"
            f"KL divergence {measured.kl_divergence:.2g} nats; the same top token for "
            f"{measured.top_1_agreement:.1%} of the tokens.\n"
        )
