"""`ogpt generate`: continuations of a prompt, or of every row of a file.

Every fault of a request is found before the weights are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ogpt.config.described import check_names, descriptions, whole_or_named
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.floor import weight_bytes
from ogpt.decoding.options import BATCH_SIZE, DecoderOptions
from ogpt.errors import ConfigError
from ogpt.folders.model_folder import ModelFolder, check_vocabulary
from ogpt.generation.choosing.drafting import Drafting
from ogpt.generation.choosing.settings import GenerationSettings, require
from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.searching.assistant import Assistant, check_assisted
from ogpt.generation.texts.continuing import Generation, OnText, continuations, slots_of
from ogpt.generation.texts.request import Request, check_given, prepare, with_end_tokens
from ogpt.generation.texts.rows import (
    FinishedRows,
    check_fields,
    check_output,
    model_hash,
    read_rows,
)
from ogpt.generation.texts.statistics import Statistics, Stopwatch
from ogpt.generation.texts.writer import TokenizerLike
from ogpt.notices import tell
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import only_writer_of, path_of


class Generations(list[Generation]):
    """The continuations of the first prompt, then those of the next, and their `statistics`."""

    def __init__(self, generations: Sequence[Generation], statistics: Statistics) -> None:
        super().__init__(generations)
        self.statistics = statistics


def generate(
    model: str | Path | ModelFolder,
    prompt: str | Sequence[str] | None = None,
    *,
    ids: Sequence[int] | None = None,
    settings: GenerationSettings | None = None,
    options: DecoderOptions | None = None,
    batch_size: int = BATCH_SIZE,
    assistant_model: str | Path | ModelFolder | None = None,
    on_text: OnText | None = None,
    **named: Any,
) -> Generations:
    """Generate text from a prompt, or from several.

    Settings and options are keyword arguments by the names of their fields, as in
    `generate(model, "the cat", temperature=0.8, stop=".", decoder="native")`. Without do_sample,
    text is sampled, except with beams and contrastive search.

    Beyond the context length a sliding window is used, with a notice: each time the context is
    full, its last half is kept. Beam search and contrastive search do not slide.

    Args:
        model: A model folder, a run, or an id of the Hub.
        prompt: A text, or several.
        ids: Token ids, in place of a prompt.
        settings: How tokens are chosen and when a continuation ends.
        options: Which decoder runs the model, and how.
        batch_size: Number of texts per batch; each holds a KV cache. Beam search and contrastive
            search use at least the slots that one text needs.
        assistant_model: A smaller model with the same tokenizer: it drafts tokens, which the model
            checks several at a time. Changes no token but for rounding. Texts are generated one
            after the other. Not with beams or contrastive search.
        on_text: Called with each text as soon as its words are complete; with beams, at the end.
        **named: Fields of GenerationSettings and DecoderOptions, in place of those in `settings`
            and `options`; with an assistant, those of its drafts: num_assistant_tokens,
            num_assistant_tokens_schedule, assistant_confidence_threshold.

    Raises:
        ConfigError: a batch_size or an option outside its range, or a decoder that is not possible.
        SamplingError: a prompt without tokens, or a setting outside its range.
        UnknownArgument: a name that is no setting and no option.
        TokenOutOfRange: an id outside the vocabulary.
        ContextTooLong: beam search or contrastive search exceeds the context length.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
    """
    check_names(generate, named, GenerationSettings, DecoderOptions, Drafting)
    settings = _settings(settings, named)
    options = whole_or_named(DecoderOptions, options, named)
    _check_batch_size(batch_size)
    check_given(prompt, ids)
    folder = ModelFolder.open(model)
    request = _prepare(folder, prompt, ids, settings)
    drafter = _drafter(folder, assistant_model, request.settings, named)
    with _opened(folder, request, batch_size, options, drafter) as running:
        return _write(running, folder.tokenizer, request, on_text)


@dataclass(frozen=True, slots=True)
class FileResult:
    """What `generate_file` wrote."""

    file: Path
    rows: int
    kept: int
    """Rows that an earlier call had written."""
    statistics: Statistics | None
    """Speed of the new rows; None if there are none."""


def generate_file(
    model: str | Path | ModelFolder,
    data: str | Path,
    out: str | Path,
    settings: GenerationSettings | None = None,
    *,
    options: DecoderOptions | None = None,
    batch_size: int = BATCH_SIZE,
    assistant_model: str | Path | ModelFolder | None = None,
    reporter: Reporter = silent,
    **named: Any,
) -> FileResult:
    """Generate text from every row of a JSON Lines file into another file, in the same order.

    A row is written as soon as it and all rows before it are complete. The same call resumes a file
    that was stopped: its rows are kept if they answer the same request.

    Args:
        model: A model folder, a run, or an id of the Hub.
        data: Rows with a text `prompt`, or else `text`; their other fields are copied. A file in
            UTF-8, perhaps compressed (.gz, .zst), or `-` for standard input.
        out: Rows with `prompt` and, of each continuation, `text`, `finish_reason`, `new_tokens` and
            `log_prob`, in a list `continuations` if there are several. With `top_logprobs` also
            `ids`, `log_probs` and `top_log_probs`, lists of [id, log-probability]. `request` is a
            hash of model, settings and prompt.
        settings: How tokens are chosen and when a continuation ends.
        options: Which decoder runs the model, and how.
        batch_size: Number of texts per batch; each holds a KV cache. Beam search and contrastive
            search use at least the slots that one text needs.
        assistant_model: A smaller model with the same tokenizer: it drafts tokens, which the model
            checks several at a time. Changes no token but for rounding. Texts are generated one
            after the other. Not with beams or contrastive search.
        reporter: Receives progress events.
        **named: Fields of GenerationSettings and DecoderOptions, in place of those in `settings`
            and `options`; with an assistant, those of its drafts: num_assistant_tokens,
            num_assistant_tokens_schedule, assistant_confidence_threshold.

    Raises:
        ConfigError: a batch_size or an option outside its range, a decoder that is not possible, or
            an `out` that cannot be appended to (`-`, .gz, .zst).
        DataError: `data` cannot be read, a row has no prompt, or a field of its own with the name
            of one that `out` adds.
        OutputExists: `out` holds something other than the first rows of this request, or another
            process is writing it.
        SamplingError, ContextTooLong: a prompt that cannot be continued.
        UnknownArgument: a name that is no setting and no option.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
        StorageError: the disk is full, or writing is not permitted; the rows written so far are
            complete.
    """
    check_names(generate_file, named, GenerationSettings, DecoderOptions, Drafting)
    settings = _settings(settings, named)
    function = settings.prefix_allowed_tokens_fn
    require(
        function is None,
        "prefix_allowed_tokens_fn",
        function,
        "None for a file of prompts, which may be continued with another function",
        "call ogpt.generate with the prompts",
    )
    options = whole_or_named(DecoderOptions, options, named)
    _check_batch_size(batch_size)
    out = path_of(out, "out")
    check_output(out)
    rows = read_rows(path_of(data, "data"))
    check_fields(rows, settings)
    folder = ModelFolder.open(model)
    prompts, names = [row.prompt for row in rows], [row.name for row in rows]
    request = _prepare(folder, prompts, None, settings, names)
    drafter = _drafter(folder, assistant_model, request.settings, named)
    with only_writer_of(out):
        finished = FinishedRows(out, rows, _asked(folder, settings, options))
        progress = Progress(reporter, "generating", len(rows), "rows")
        progress(finished.count)
        kept, statistics = finished.count, None
        if kept < len(rows):
            request = replace(request, prompts=request.prompts[kept:])
            with _opened(folder, request, batch_size, options, drafter) as running:
                statistics = _write_rows(running, folder.tokenizer, request, finished, progress)
    return FileResult(out, len(rows), kept, statistics)


def generate_with(
    decoder: Decoder,
    tokenizer: TokenizerLike,
    prompt: str | Sequence[str] | None = None,
    settings: GenerationSettings | None = None,
    *,
    ids: Sequence[int] | None = None,
    on_text: OnText | None = None,
    **named: Any,
) -> Generations:
    """Generate as `generate` does, with an open decoder; its slots are left empty."""
    check_names(generate_with, named, GenerationSettings)
    settings = _settings(settings, named)
    check_given(prompt, ids)
    size = (decoder.n_positions, decoder.vocab_size)
    request = prepare(tokenizer, *size, prompt, ids, settings)
    return _write(_Running(decoder), tokenizer, request, on_text)


def _settings(whole: GenerationSettings | None, named: Mapping[str, Any]) -> GenerationSettings:
    """The settings of a call: without do_sample, sample unless another search is asked for."""
    given = {name: value for name, value in named.items() if (name, value) != ("do_sample", None)}
    if whole is None:
        searches = given.get("num_beams", 1) != 1 or bool(given.get("penalty_alpha"))
        given.setdefault("do_sample", not searches)
    return whole_or_named(GenerationSettings, whole, given)


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError(
            f"batch_size is {batch_size}; allowed: 1 or more",
            hint=f"omit it for {BATCH_SIZE}; on a GPU use more",
        )


def _prepare(
    folder: ModelFolder,
    prompt: str | Sequence[str] | None,
    ids: Sequence[int] | None,
    settings: GenerationSettings,
    names: Sequence[str] = (),
) -> Request:
    """Build the request; the end tokens of the model's configuration are added."""
    config = folder.config
    settings = with_end_tokens(settings, config)
    size = (config.n_positions, config.vocab_size)
    return prepare(folder.tokenizer, *size, prompt, ids, settings, names=names)


def _asked(
    folder: ModelFolder, settings: GenerationSettings, options: DecoderOptions
) -> dict[str, Any]:
    """What the rows of a file depend on besides their prompts."""
    asked = asdict(settings) | asdict(options)
    for without_effect in ("prompt_lookup_num_tokens", "threads"):
        del asked[without_effect]
    asked["sequence_bias"] = sorted(settings.sequence_bias.items())  # JSON has no tuples for keys
    return {"model": model_hash(folder.path), **asked}


class _Drafter(NamedTuple):
    """The model that drafts, before its weights are loaded."""

    folder: ModelFolder
    drafting: Drafting


class _Running(NamedTuple):
    """What generates."""

    decoder: Decoder
    assistant: Assistant | None = None
    weights: int | None = None
    """Bytes of packed weights that a token reads, if the decoder reports them."""


def _drafter(
    folder: ModelFolder,
    assistant_model: str | Path | ModelFolder | None,
    settings: GenerationSettings,
    named: Mapping[str, Any],
) -> _Drafter | None:
    """The assistant and the settings of its drafts, checked against the model; None without one."""
    drafting = whole_or_named(Drafting, None, named)
    if assistant_model is None:
        for name in descriptions(Drafting):
            if name in named:
                reason = "there is no assistant_model"
                tell("setting-without-effect", setting=name, reason=reason)
        return None
    small = ModelFolder.open(assistant_model)
    check_assisted(settings, folder.config.vocab_size, small.config.vocab_size)
    check_vocabulary(folder.tokenizer, small.config, small.path)
    if settings.prompt_lookup_num_tokens:
        reason = "assistant_model drafts"
        tell("setting-without-effect", setting="prompt_lookup_num_tokens", reason=reason)
    return _Drafter(small, drafting)


@contextmanager
def _opened(
    folder: ModelFolder,
    request: Request,
    batch_size: int,
    options: DecoderOptions,
    drafter: _Drafter | None,
) -> Iterator[_Running]:
    """A decoder with the slots that the request can use, and the assistant's decoder."""
    # one slot with an assistant: only a text that is alone has drafts
    slots = 1 if drafter else slots_of(request, batch_size)
    with closing(open_decoder(folder, options, slots=slots)) as decoder:
        weights = weight_bytes(decoder, folder.config)
        if drafter is None:
            yield _Running(decoder, None, weights)
            return
        with closing(open_decoder(drafter.folder, options, slots=1)) as small:
            assistant = Assistant(small, request.settings, drafter.drafting)
            yield _Running(decoder, assistant, weights)


def _write(
    running: _Running, tokenizer: TokenizerLike, request: Request, on_text: OnText | None
) -> Generations:
    clock = Stopwatch()
    asked = (running.decoder, tokenizer, request)
    found = dict(continuations(*asked, on_text, clock.tick, running.assistant))
    generations = [found[number] for number in sorted(found)]
    tokens = sum(len(one.ids) for one in generations)
    texts = max(len(generations), request.settings.num_beams)
    return Generations(generations, clock.statistics(tokens, texts, running.weights))


def _write_rows(
    running: _Running,
    tokenizer: TokenizerLike,
    request: Request,
    finished: FinishedRows,
    progress: Progress,
) -> Statistics:
    """Write the rows that are not finished yet."""
    clock = Stopwatch()
    tokens = 0
    per_row = request.settings.num_return_sequences
    with finished.appending(per_row) as append:
        asked = (running.decoder, tokenizer, request)
        for number, one in continuations(*asked, None, clock.tick, running.assistant):
            append(number, one)
            tokens += len(one.ids)
            progress(finished.count)
    return clock.statistics(tokens, len(request.prompts) * per_row, running.weights)
