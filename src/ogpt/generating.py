"""`ogpt generate`: a prompt goes in, text comes out, shown word by word if asked.

Whatever can be wrong with a request is found before the weights are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from ogpt.bundle import load_tokenizer, read_config, resolve
from ogpt.decoding.choice import open_decoder
from ogpt.generation.decoder import Decoder
from ogpt.generation.request import Prompt, Request, check_given, prepare
from ogpt.generation.search import FinishReason, search
from ogpt.generation.settings import GenerationSettings
from ogpt.generation.writer import Vocabulary, Writer

MAX_SLOTS = 16
"""Sequences written at once; more wait for a slot. Each holds a key-value cache in memory."""

OnText = Callable[[int, str], None]
"""Receives (which generation, its next text); the texts of one, joined, are its `text`."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One continuation of a prompt."""

    text: str
    """What follows the prompt: `prompt + text` reads on, with a space between where one belongs."""
    prompt: str
    """The prompt as it was given; of token ids, their text."""
    ids: list[int]
    """The new tokens, with those of a stop string and the token that ended the text."""
    finish_reason: FinishReason
    """stop: a stop string or the end token; length: max_new_tokens were written."""
    log_probs: list[float]
    """Log-probability of each new token under the model, whatever the sampling settings."""
    n_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """How fast the generations of one call were written, without loading the model."""

    new_tokens: int
    seconds_to_first_token: float
    """From the first prompt token to the first new one."""
    seconds: float
    """From the first prompt token to the last new one."""

    @property
    def tokens_per_s(self) -> float:
        """New tokens over seconds."""
        return self.new_tokens / self.seconds


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
    do_sample: bool = True,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    num_return_sequences: int = 1,
    stop: str | Sequence[str] = (),
    decoder: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
    on_text: OnText | None = None,
) -> Generations:
    """Write on from a prompt.

    Beyond the model's n_positions the text slides: the last half is read again, with a notice.

    Args:
        model: A model folder or a run.
        prompt: A text, or several.
        ids: Token ids in place of a prompt.
        max_new_tokens: Most tokens to write, 1 or more.
        min_new_tokens: Tokens to write before a stop string or end token counts.
        do_sample: False takes the most likely token every time.
        temperature: Above 0; below 1 is safer, above 1 wilder.
        top_k: Draw among the k most likely tokens; 0 for all.
        top_p: Draw among the fewest tokens that hold this probability; 1 for all.
        seed: The same seed writes the same text; 0 to 2**64 - 1.
        num_return_sequences: Continuations of each prompt.
        stop: Strings that end the text; they are not part of it.
        decoder: Which implementation decodes (`ogpt.decoding.choice`).
        dtype: Precision of its weights.
        threads: Threads it may use; 0 for all cores.
        on_text: Told each text as soon as its words are whole.

    Raises:
        SamplingError: a prompt without tokens, or a setting outside its range.
        TokenOutOfRange: an id outside the vocabulary.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
    """
    settings = GenerationSettings(
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        do_sample=do_sample,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        num_return_sequences=num_return_sequences,
    )
    stop = check_given(prompt, ids, stop)
    folder = resolve(model)
    config = read_config(folder)
    tokenizer = load_tokenizer(folder, config)
    settings = replace(settings, eos_token_id=_end_ids(getattr(config, "eos_token_id", None)))
    request = prepare(tokenizer, config.n_positions, config.vocab_size, prompt, ids, settings, stop)
    n_sequences = len(request.prompts) * num_return_sequences
    opened = open_decoder(
        folder,
        config=config,
        decoder=decoder,
        dtype=dtype,
        threads=threads,
        slots=min(n_sequences, MAX_SLOTS),
    )
    with closing(opened):
        return _write(opened, tokenizer, request, on_text)


def generate_with(
    decoder: Decoder,
    tokenizer: Vocabulary,
    prompt: str | Sequence[str] | None = None,
    settings: GenerationSettings | None = None,
    *,
    ids: Sequence[int] | None = None,
    stop: str | Sequence[str] = (),
    on_text: OnText | None = None,
) -> Generations:
    """`generate` with a decoder that is open already, and stays so; its slots are left empty."""
    settings = settings or GenerationSettings()
    stop = check_given(prompt, ids, stop)
    request = prepare(
        tokenizer, decoder.n_positions, decoder.vocab_size, prompt, ids, settings, stop
    )
    return _write(decoder, tokenizer, request, on_text)


@dataclass(slots=True)
class _Draft:
    """A generation while it is written."""

    prompt: Prompt
    writer: Writer
    texts: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)


def _write(
    decoder: Decoder, tokenizer: Vocabulary, request: Request, on_text: OnText | None
) -> Generations:
    settings = request.settings
    drafts = [
        _Draft(
            prompt,
            Writer(
                tokenizer,
                after_word=prompt.after_word,
                stop=request.stop,
                min_tokens=settings.min_new_tokens,
            ),
        )
        for prompt in request.prompts
        for _ in range(settings.num_return_sequences)
    ]

    def show(continuation: int, text: str) -> None:
        if text:
            drafts[continuation].texts.append(text)
            if on_text is not None:
                on_text(continuation, text)

    def ends(continuation: int, token_id: int) -> bool:
        writer = drafts[continuation].writer
        show(continuation, writer.write(token_id))
        return writer.stopped

    reasons: dict[int, FinishReason] = {}
    times: list[float] = []
    begun = time.perf_counter()
    with closing(search(decoder, [one.ids for one in request.prompts], settings, ends)) as tokens:
        for token in tokens:
            times.append(time.perf_counter() - begun)
            draft = drafts[token.continuation]
            draft.ids.append(token.id)
            draft.log_probs.append(token.log_prob)
            if token.finish_reason is not None:
                reasons[token.continuation] = token.finish_reason
                show(token.continuation, draft.writer.finish())
    generations = [
        Generation(
            text="".join(draft.texts),
            prompt=draft.prompt.text,
            ids=draft.ids,
            finish_reason=reasons[continuation],
            log_probs=draft.log_probs,
            n_prompt_tokens=len(draft.prompt.ids),
        )
        for continuation, draft in enumerate(drafts)
    ]
    return Generations(generations, Statistics(len(times), times[0], times[-1]))


def _end_ids(eos_token_id: int | list[int] | None) -> tuple[int, ...]:
    """The end tokens of a configuration; GPT-1 itself has none."""
    if eos_token_id is None:
        return ()
    return tuple(eos_token_id) if isinstance(eos_token_id, list) else (eos_token_id,)
