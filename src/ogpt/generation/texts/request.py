"""A request for text: prompts within the vocabulary, settings that fit the model, notices given.

Everything here happens before weights are read, so what is wrong is said at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index

from ogpt.errors import SamplingError, TokenOutOfRange
from ogpt.generation.choosing.settings import GenerationSettings, require
from ogpt.generation.searching.sampling import kept_when_full, slides
from ogpt.generation.searching.text import check_length
from ogpt.generation.texts.writer import Vocabulary, decode, ends_word, stop_forms
from ogpt.notices import tell


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text and its tokens."""

    text: str
    ids: list[int]
    after_word: bool
    """A space belongs between it and what follows."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be written."""

    prompts: list[Prompt]
    settings: GenerationSettings
    stop: list[str]
    """Stop strings in every form that the vocabulary can write."""
    top_logprobs: int = 0
    """How many most likely tokens to tell with each token."""


def check_given(
    prompt: str | Sequence[str] | None, ids: Sequence[int] | None, stop: str | Sequence[str]
) -> list[str]:
    """What can be checked without a model; returns the stop strings as a list.

    Raises:
        SamplingError: not exactly one of prompt and ids, or an empty stop string.
    """
    given = [name for name, value in (("prompt", prompt), ("ids", ids)) if value is not None]
    if len(given) != 1:
        raise SamplingError(
            f"{' and '.join(given) or 'neither prompt nor ids'} given; allowed: one of the two",
            hint="give a prompt as text, or its token ids",
        )
    strings = [stop] if isinstance(stop, str) else list(stop)
    if "" in strings:
        raise SamplingError(
            "a stop string is ''; allowed: one character or more", hint="leave it out"
        )
    return strings


def prepare(
    tokenizer: Vocabulary,
    n_positions: int,
    vocab_size: int,
    prompt: str | Sequence[str] | None,
    ids: Sequence[int] | None,
    settings: GenerationSettings,
    stop: Sequence[str],
    ban: Sequence[str] = (),
    bias: Mapping[str, float] | None = None,
    top_logprobs: int = 0,
) -> Request:
    """Read the prompts and give notice of all that will not go as one might think.

    Args:
        tokenizer: The model's.
        n_positions: Of the model.
        vocab_size: Rows of the model; those without a token are never written.
        prompt: A text, or several; None with `ids`.
        ids: Token ids in place of a prompt.
        settings: How to write.
        stop: As `check_given` returns them.
        ban: Texts that are never written, as bad_words_ids.
        bias: What to add for texts, as sequence_bias.
        top_logprobs: How many most likely tokens to tell with each token.

    Raises:
        SamplingError: no prompt, or one without tokens; a number that cannot be.
        TokenOutOfRange: an id outside the vocabulary.
        ContextTooLong: beams or a contrastive search outgrow the model's positions.
    """
    if ids is not None:
        prompts = [_ids_prompt(tokenizer, ids, vocab_size)]
    else:
        texts = [prompt] if isinstance(prompt, str) else list(prompt or ())
        prompts = [_text_prompt(tokenizer, text) for text in texts]
        _tell_unknown(tokenizer, prompts)
    if not prompts:
        raise SamplingError("prompt is an empty list; allowed: one text or more", hint="give one")
    every_ids = [one.ids for one in prompts]
    if settings.num_beams > 1 or settings.penalty_alpha:  # these do not slide
        # contrastive search reads its last token too, to choose it
        more = settings.max_new_tokens - (settings.penalty_alpha == 0)
        check_length(n_positions, every_ids, more)
    else:
        tell_length(n_positions, every_ids, settings)
    tell_without_effect(settings, every_ids)
    require(
        0 <= top_logprobs <= vocab_size,
        "top_logprobs",
        top_logprobs,
        f"0 to {vocab_size}",
        "0 tells none",
    )
    banned = _words(tokenizer, "ban", ban)
    biased = _words(tokenizer, "bias", bias or {})
    no_token = range(len(tokenizer), vocab_size)
    settings = replace(
        settings,
        suppress_tokens=(*settings.suppress_tokens, *no_token),
        bad_words_ids=(*settings.bad_words_ids, *banned.values()),
        sequence_bias={
            **settings.sequence_bias,
            **{ids: (bias or {})[text] for text, ids in biased.items()},
        },
    )
    return Request(prompts, settings, _forms(tokenizer, stop), top_logprobs)


def tell_length(
    n_positions: int, prompts: Sequence[Sequence[int]], settings: GenerationSettings
) -> None:
    """Give notice of texts that greedy search and sampling will cut or slide.

    Args:
        n_positions: Of the model.
        prompts: The ids of each.
        settings: Of the request.
    """
    for ids in prompts:
        if len(ids) > n_positions:
            tell("prompt-cut", tokens=len(ids), n_positions=n_positions)
    if any(slides(n_positions, len(ids), settings.max_new_tokens) for ids in prompts):
        tell("context-slides", n_positions=n_positions, kept=kept_when_full(n_positions))


def tell_without_effect(
    settings: GenerationSettings, prompts: Sequence[Sequence[int]] = ()
) -> None:
    """Give notice of each setting that changes nothing beside the others.

    Args:
        settings: Of the request.
        prompts: The ids of each, where they are known.
    """
    drawing = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "typical_p": 1, "seed": 0}
    if settings.penalty_alpha:
        del drawing["top_k"]
    beams = {"length_penalty": 1, "early_stopping": False}
    reasons: list[tuple[bool, dict[str, int], str]] = [
        (not settings.do_sample, drawing, "without sampling, nothing is drawn"),
        (settings.num_beams == 1, beams, "there are no beams (num_beams=1)"),
        (
            settings.num_beam_groups == 1,
            {"diversity_penalty": 0},
            "the beams form one group (num_beam_groups=1)",
        ),
    ]
    for without_effect, neutral, reason in reasons:
        for name, value in neutral.items():
            if without_effect and getattr(settings, name) != value:
                tell("setting-without-effect", setting=name, reason=reason)
    alone = settings.num_beams == 1 and not settings.penalty_alpha
    if settings.prompt_lookup_num_tokens and not alone:
        tell(
            "setting-without-effect",
            setting="prompt_lookup_num_tokens",
            reason="beams and contrastive search do not read ahead",
        )
    longer = prompts and all(len(ids) != 1 for ids in prompts)
    if settings.forced_bos_token_id is not None and longer:
        tell(
            "setting-without-effect",
            setting="forced_bos_token_id",
            reason="no prompt has just one token",
        )


def _text_prompt(tokenizer: Vocabulary, text: str) -> Prompt:
    ids = tokenizer.encode(text)
    if not ids:
        raise SamplingError(
            f"the prompt {text!r} holds no tokens; at least one is needed to go on from",
            hint="give at least one word",
        )
    return Prompt(text, ids, after_word=not text[-1].isspace())


def _ids_prompt(tokenizer: Vocabulary, ids: Sequence[int], vocab_size: int) -> Prompt:
    prompt = [index(token_id) for token_id in ids]
    for position, token_id in enumerate(prompt):
        if not 0 <= token_id < vocab_size:
            raise TokenOutOfRange(
                f"the id at position {position} is {token_id}; allowed: 0 to {vocab_size - 1}",
                hint="use ids of this model's own tokenizer",
            )
    if not prompt:
        raise SamplingError(
            "ids holds no tokens; at least one is needed to go on from",
            hint="give at least one token id",
        )
    return Prompt(decode(tokenizer, prompt), prompt, ends_word(tokenizer, prompt[-1]))


def _words(tokenizer: Vocabulary, setting: str, texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The ids of texts that are banned or favoured; those that cannot be written are told."""
    found = {}
    for text in texts:
        ids = tokenizer.encode(text)
        if ids and tokenizer.unk_token_id not in ids:
            found[text] = tuple(ids)
        else:
            tell(
                "setting-without-effect",
                setting=f"{setting}={text!r}",
                reason="this vocabulary cannot write it",
            )
    return found


def _forms(tokenizer: Vocabulary, stop: Sequence[str]) -> list[str]:
    forms: list[str] = []
    for string in stop:
        writable = stop_forms(tokenizer, string)
        forms += writable
        if not writable:
            tell(
                "setting-without-effect",
                setting=f"stop={string!r}",
                reason="this vocabulary cannot write it",
            )
    return forms


def _tell_unknown(tokenizer: Vocabulary, prompts: Sequence[Prompt]) -> None:
    ids = [token_id for prompt in prompts for token_id in prompt.ids]
    count = sum(token_id == tokenizer.unk_token_id for token_id in ids)
    if count:
        tell("prompt-unknown", count=count, total=len(ids))
