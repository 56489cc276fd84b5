"""`ogpt generate`: a prompt goes in, text comes out, shown word by word if asked.

Whatever can be wrong with a request is found before the weights are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.floor import weight_bytes
from ogpt.errors import ConfigError, UnknownArgument
from ogpt.folders.model_folder import load_tokenizer, read_config, resolve
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.texts.continuing import Generation, OnText, continuations, slots_of
from ogpt.generation.texts.request import Request, check_given, prepare
from ogpt.generation.texts.rows import FinishedRows, model_hash, read_rows
from ogpt.generation.texts.statistics import Statistics, Stopwatch
from ogpt.generation.texts.writer import Vocabulary
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import only_writer_of

BATCH_SIZE = 16
"""Sequences written at once; more wait for a slot. Each holds a key-value cache in memory."""


class Generations(list[Generation]):
    """The continuations of the first prompt, then those of the next; with `statistics`."""

    def __init__(self, generations: Sequence[Generation], statistics: Statistics) -> None:
        super().__init__(generations)
        self.statistics = statistics


def generate(
    model: str | Path,
    prompt: str | Sequence[str] | None = None,
    *,
    ids: Sequence[int] | None = None,
    max_new_tokens: int = 50,
    min_new_tokens: int = 0,
    do_sample: bool | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    num_return_sequences: int = 1,
    num_beams: int = 1,
    stop: str | Sequence[str] = (),
    ban: Sequence[str] = (),
    bias: Mapping[str, float] | None = None,
    top_logprobs: int = 0,
    decoder: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
    cache_dtype: str = "float32",
    deterministic: bool = False,
    batch_size: int = BATCH_SIZE,
    on_text: OnText | None = None,
    **more: Any,
) -> Generations:
    """Write on from a prompt.

    Beyond the model's n_positions the text slides: the last half is read again, with a notice.
    Beams and contrastive search do not slide.

    Args:
        model: A model folder or a run.
        prompt: A text, or several.
        ids: Token ids in place of a prompt.
        max_new_tokens: Most tokens to write, 1 or more.
        min_new_tokens: Tokens to write before a stop string or end token counts.
        do_sample: False takes the most likely token every time, or the most likely beams; None:
            True without beams and contrastive search.
        temperature: Above 0; below 1 is safer, above 1 wilder.
        top_k: Draw among the k most likely tokens; 0 for all.
        top_p: Draw among the fewest tokens that hold this probability; 1 for all.
        seed: The same seed writes the same text; 0 to 2**64 - 1.
        num_return_sequences: Continuations of each prompt; with beams, at most num_beams.
        num_beams: Beams of a beam search, whose most likely texts come first; 1 for none.
        stop: Strings that end the text; they are not part of it.
        ban: Texts that are never written.
        bias: What to add to the logits of texts: above 0 makes them likelier, below 0 less so.
        top_logprobs: How many most likely tokens to tell with each token.
        decoder: Which implementation decodes (`ogpt.decoding.choice`).
        dtype: Precision of its weights.
        threads: Threads it may use; 0 for all cores.
        cache_dtype: Of keys and values in the native decoder: float32 or bfloat16.
        deterministic: The same bits alone or in any batch; the native decoder gives them always.
        batch_size: Sequences written at once, each with its cache in memory; more wait. Beams and
            the candidates of a contrastive search are at least as many as one text needs.
        on_text: Told each text as soon as its words are whole; of beams, when all is written.
        **more: The other settings of `GenerationSettings`: min_p, typical_p, repetition_penalty,
            num_beam_groups, penalty_alpha and so on.

    Raises:
        ConfigError: a batch_size below 1, or a decoder, dtype or threads that cannot be had.
        SamplingError: a prompt without tokens, or a setting outside its range.
        UnknownArgument: a name that is no setting.
        TokenOutOfRange: an id outside the vocabulary.
        ContextTooLong: beams or a contrastive search outgrow the model's positions.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
    """
    _require_settings(more)
    _require_batch_size(batch_size)
    drawn = num_beams == 1 and not more.get("penalty_alpha")
    settings = GenerationSettings(
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        do_sample=drawn if do_sample is None else do_sample,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        num_return_sequences=num_return_sequences,
        num_beams=num_beams,
        **more,
    )
    stop = check_given(prompt, ids, stop)
    folder = resolve(model)
    config = read_config(folder)
    tokenizer = load_tokenizer(folder, config)
    settings = _with_ends(settings, config)
    size = (config.n_positions, config.vocab_size)
    request = prepare(tokenizer, *size, prompt, ids, settings, stop, ban, bias, top_logprobs)
    how = {
        "decoder": decoder,
        "dtype": dtype,
        "threads": threads,
        "cache_dtype": cache_dtype,
        "deterministic": deterministic,
    }
    with closing(_open(folder, config, request, batch_size, how)) as opened:
        return _write(opened, tokenizer, request, on_text, weight_bytes(opened, config))


@dataclass(frozen=True, slots=True)
class FileResult:
    """What `generate_file` did."""

    file: Path
    rows: int
    kept: int
    """Of them, those that were there already."""
    statistics: Statistics | None
    """Of the others; None where there are none."""


def generate_file(
    model: str | Path,
    data: str | Path,
    out: str | Path,
    settings: GenerationSettings | None = None,
    *,
    stop: str | Sequence[str] = (),
    ban: Sequence[str] = (),
    bias: Mapping[str, float] | None = None,
    top_logprobs: int = 0,
    decoder: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
    cache_dtype: str = "float32",
    deterministic: bool = False,
    batch_size: int = BATCH_SIZE,
    reporter: Reporter = silent,
) -> FileResult:
    """Write on from every row of a JSON Lines file, into another one, row by row in their order.

    A row is written as soon as it and all before it are whole. The same call goes on where a
    stopped one was: rows that are there are kept, if they answer the same request.

    Args:
        model: A model folder or a run.
        data: Rows with a text `prompt` or, where there is none, `text`; their other fields go
            along.
        out: Rows with `prompt` and `text`, `finish_reason`, `new_tokens` and `log_prob` of what
            was written, in a list `continuations` where there are several; `request` tells model,
            settings and prompt from others.
        settings: How to write; the model's end tokens are added.
        stop: Strings that end the text; they are not part of it.
        ban: Texts that are never written.
        bias: What to add to the logits of texts.
        top_logprobs: How many most likely tokens to tell with each token: rows then hold `ids`,
            `log_probs` and `top_log_probs`, too, lists of [id, log-probability].
        decoder: Which implementation decodes (`ogpt.decoding.choice`).
        dtype: Precision of its weights.
        threads: Threads it may use; 0 for all cores.
        cache_dtype: Of keys and values in the native decoder: float32 or bfloat16.
        deterministic: The same bits alone or in any batch; the native decoder gives them always.
        batch_size: Sequences written at once, each with its cache in memory; more wait. Beams and
            the candidates of a contrastive search are at least as many as one text needs.
        reporter: Told how far it is.

    Raises:
        ConfigError: a batch_size below 1, or a decoder, dtype or threads that cannot be had.
        DataError: `data` cannot be read, or a row has no prompt.
        OutputExists: `out` holds something other than the first rows of this request, or another
            process is writing it.
        SamplingError, ContextTooLong: a prompt that cannot be continued.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
        StorageError: the disk is full or refuses; the rows written so far are whole.
    """
    _require_batch_size(batch_size)
    rows = read_rows(Path(data))
    prompts = [row.prompt for row in rows]
    strings = check_given(prompts, None, stop)
    folder = resolve(model)
    config = read_config(folder)
    tokenizer = load_tokenizer(folder, config)
    settings = _with_ends(settings or GenerationSettings(), config)
    size = (config.n_positions, config.vocab_size)
    request = prepare(tokenizer, *size, prompts, None, settings, strings, ban, bias, top_logprobs)
    asked = replace(request.settings, prompt_lookup_num_tokens=None)  # changes no text
    key = [model_hash(folder), asdict(asked), strings, top_logprobs, decoder, dtype]
    key += [cache_dtype, deterministic]
    how = {
        "decoder": decoder,
        "dtype": dtype,
        "threads": threads,
        "cache_dtype": cache_dtype,
        "deterministic": deterministic,
    }
    with only_writer_of(Path(out)):
        finished = FinishedRows(Path(out), rows, key)
        progress = Progress(reporter, "generating", len(rows), "rows")
        progress(finished.count)
        kept, statistics = finished.count, None
        if kept < len(rows):
            request = replace(request, prompts=request.prompts[kept:])
            with closing(_open(folder, config, request, batch_size, how)) as opened:
                weights = weight_bytes(opened, config)
                statistics = _write_rows(opened, tokenizer, request, finished, progress, weights)
    return FileResult(Path(out), len(rows), kept, statistics)


def _write_rows(
    decoder: Decoder,
    tokenizer: Vocabulary,
    request: Request,
    finished: FinishedRows,
    progress: Progress,
    weights: int | None,
) -> Statistics:
    """Write what is not finished yet."""
    clock = Stopwatch()
    tokens = 0
    per_row = request.settings.num_return_sequences
    with finished.appending(per_row) as append:
        for number, one in continuations(decoder, tokenizer, request, on_token=clock.tick):
            append(number, one)
            tokens += len(one.ids)
            progress(finished.count)
    return clock.statistics(tokens, len(request.prompts) * per_row, weights)


def generate_with(
    decoder: Decoder,
    tokenizer: Vocabulary,
    prompt: str | Sequence[str] | None = None,
    settings: GenerationSettings | None = None,
    *,
    ids: Sequence[int] | None = None,
    stop: str | Sequence[str] = (),
    ban: Sequence[str] = (),
    bias: Mapping[str, float] | None = None,
    top_logprobs: int = 0,
    on_text: OnText | None = None,
) -> Generations:
    """`generate` with a decoder that is open already, and stays so; its slots are left empty."""
    settings = settings or GenerationSettings()
    stop = check_given(prompt, ids, stop)
    size = (decoder.n_positions, decoder.vocab_size)
    request = prepare(tokenizer, *size, prompt, ids, settings, stop, ban, bias, top_logprobs)
    return _write(decoder, tokenizer, request, on_text)


def _require_settings(names: Mapping[str, Any]) -> None:
    """Check the names of settings.

    Raises:
        UnknownArgument: one that GenerationSettings has not.
    """
    known = [item.name for item in fields(GenerationSettings)]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.6)
            raise UnknownArgument(
                f"generate has no argument {name}; allowed settings: {', '.join(known)}",
                hint=f"did you mean {near[0]}?" if near else "leave it out",
            )


def _require_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ConfigError(
            f"batch_size is {batch_size}; allowed: 1 or more",
            hint=f"leave it at {BATCH_SIZE}; more pay on a GPU",
        )


def _with_ends(settings: GenerationSettings, config: OpenAIGPTConfig) -> GenerationSettings:
    """The settings, in which the end tokens of the configuration end a text."""
    end_ids = _end_ids(getattr(config, "eos_token_id", None))
    return replace(settings, eos_token_id=(*settings.eos_token_id, *end_ids))


def _open(
    folder: Path,
    config: OpenAIGPTConfig,
    request: Request,
    batch_size: int,
    how: Mapping[str, Any],
) -> Decoder:
    """A decoder with the slots that a request can use."""
    slots = slots_of(request, batch_size)
    return open_decoder(folder, config=config, slots=slots, **how)


def _write(
    decoder: Decoder,
    tokenizer: Vocabulary,
    request: Request,
    on_text: OnText | None,
    weights: int | None = None,
) -> Generations:
    clock = Stopwatch()
    found = dict(continuations(decoder, tokenizer, request, on_text, clock.tick))
    generations = [found[number] for number in sorted(found)]
    tokens = sum(len(one.ids) for one in generations)
    texts = max(len(generations), request.settings.num_beams)
    return Generations(generations, clock.statistics(tokens, texts, weights))


def _end_ids(eos_token_id: int | list[int] | None) -> tuple[int, ...]:
    """The end tokens of a configuration; GPT-1 itself has none."""
    if eos_token_id is None:
        return ()
    return tuple(eos_token_id) if isinstance(eos_token_id, list) else (eos_token_id,)
