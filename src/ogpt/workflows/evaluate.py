"""`ogpt evaluate`: how well a model predicts a text, by sliding windows.

The documents are joined end to end, as in training, and scored window by window
(`ogpt.generation.protocol.likelihood`). The first token of the text has no context and is not
scored.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogpt.config.described import check_names, whole_or_named
from ogpt.data.sources import TEXT_FIELD, Specs
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.options import DecoderOptions
from ogpt.errors import ConfigError, DataError
from ogpt.evaluation.tokenized_text import open_text
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol import perplexity as units
from ogpt.generation.protocol.likelihood import check_stride, score
from ogpt.notices import tell
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import path_of
from ogpt.tasks.encoded_examples import OnTooLong
from ogpt.tasks.task_spec import CONFIG_KEY
from ogpt.workflows.evaluate_task import TaskEvaluation, evaluate_task


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
    model: str | Path | ModelFolder,
    data: Specs = (),
    *,
    text: str | None = None,
    stride: int = 0,
    encoding: str = "utf-8",
    text_field: str = TEXT_FIELD,
    split: str | None = None,
    out: str | Path | None = None,
    on_too_long: OnTooLong = "truncate",
    reporter: Reporter = silent,
    options: DecoderOptions | None = None,
    **named: Any,
) -> PerplexityResult | TaskEvaluation:
    """Measure a language model on a text, or a fine-tuned model on examples of its task.

    Of a text: loss, perplexity and bits per byte; memory does not grow with it. Of a task: its
    scores with intervals, and calibration.

    Args:
        model: A model folder, a run, or an id of the Hub.
        data: Sources of the text (see `ogpt.data.sources.open_sources`), or one file of examples
            as for fine-tuning, or the folder with the data set that the model was fine-tuned on.
        text: The text itself, in place of data.
        stride: Stride of the sliding window in tokens, 1 to n_positions. A smaller stride gives
            each token more context and takes longer. 0 uses half a window.
        encoding: Encoding of text files.
        text_field: Field or column of .jsonl and .parquet files that holds the text.
        split: Of the data set in a folder, such as valid (if None) or test/matched.
        out: New folder for the tables, hardest examples and pictures of a task.
        on_too_long: truncate, error or skip, for examples of a task that the model is too short
            for.
        reporter: Receives progress events.
        options: Which decoder scores the text, and how it runs.
        **named: Fields of DecoderOptions (decoder, dtype, threads, ...), in place of those in
            `options`.

    Raises:
        ConfigError: not exactly one of data and text, a stride or on_too_long outside its range,
            or a split that is not there.
        UnknownArgument: a name that is no field of DecoderOptions.
        DataError: sources that cannot be read, or too little text.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
    """
    check_names(evaluate, named, DecoderOptions)
    folder = ModelFolder.open(model)
    if hasattr(folder.config, CONFIG_KEY):
        threads = whole_or_named(DecoderOptions, options, named).threads
        target = None if out is None else path_of(out, "out")
        file = _one_file(data, text)
        return evaluate_task(
            folder,
            file,
            split=split,
            out=target,
            on_too_long=on_too_long,
            threads=threads,
            reporter=reporter,
        )
    too_long = None if on_too_long == "truncate" else on_too_long
    for name, value in (("split", split), ("out", out), ("on_too_long", too_long)):
        if value is not None:
            tell("setting-without-effect", setting=name, reason="a language model has no task")
    check_stride(stride, folder.config.n_positions)
    read = open_text(folder.tokenizer, data, text, encoding, text_field)
    progress = Progress(reporter, "evaluating", sum(read.sizes))
    with closing(open_decoder(folder, options, **named)) as opened:
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


def _one_file(data: Specs, text: str | None) -> Path:
    """The file of examples.

    Raises:
        ConfigError: a text, or not exactly one file.
    """
    files = data if isinstance(data, list | tuple) else [data]
    if text is None and len(files) == 1 and isinstance(files[0], str | Path):
        return path_of(files[0], "data")
    seen = "a text" if text is not None else f"{len(files)} sources"
    raise ConfigError(
        f"{seen} passed for a fine-tuned model; allowed: one file of examples",
        hint="pass for example --data test.jsonl",
    )
