"""A request for text: prompts within the vocabulary, settings that fit the model.

All of this happens before the weights are read, so that faults and notices come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Literal

from ogpt.config.described import derived
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import SamplingError, TokenOutOfRange
from ogpt.generation.choosing.effects import tell_without_effect
from ogpt.generation.choosing.rules import Rule
from ogpt.generation.choosing.settings import GenerationSettings, require
from ogpt.generation.searching.sampling import kept_when_full, slides
from ogpt.generation.searching.text import check_length
from ogpt.generation.texts.bans import Bans, banned_text, has_unknown
from ogpt.generation.texts.writer import (
    TokenizerLike,
    decode,
    ends_word,
    is_byte_level,
    space_follows,
    stop_forms,
)
from ogpt.notices import tell
from ogpt.tokens.surface import Readable, readable

THE_PROMPT = "the prompt"
"""What messages call the only prompt of a request."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text and its tokens."""

    text: str
    ids: list[int]
    after_word: bool
    """Whether a space belongs between the prompt and its continuation."""
    typed: bool = True
    """Whether the text is the caller's; otherwise it was decoded from ids."""
    name: str = THE_PROMPT
    """What messages call it."""
    whole: bool = True
    """Whether the ids are those of the whole text."""

    def surface(self, tokenizer: TokenizerLike, settings: GenerationSettings) -> Readable | None:
        """What makes the continuation readable; None if its raw text is wanted, or is readable."""
        if settings.surface == "raw" or is_byte_level(tokenizer):
            return None
        # transformers' tokenizers do not name their rules, which are BERT's
        pre_tokenizer = getattr(tokenizer, "pre_tokenizer", "bert")
        before = self.text if self.typed else readable(self.text, pre_tokenizer)
        return Readable(
            pre_tokenizer,
            before=before,
            inside_word=not self.after_word and not self.text[-1:].isspace(),
            keep_lower=settings.keep_lower,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """Prompts to continue, and how."""

    prompts: list[Prompt]
    settings: GenerationSettings
    """Texts to bias are token ids here."""
    stop: list[str]
    """Stop strings in every form that the vocabulary can spell."""
    top_logprobs: int = 0
    """Number of most probable tokens to report at each step."""
    bans: Sequence[Rule] = ()
    """What excludes the texts to ban."""


def check_given(prompt: str | Sequence[str] | None, ids: Sequence[int] | None) -> None:
    """Check what needs no model.

    Raises:
        SamplingError: not exactly one of prompt and ids.
    """
    given = [name for name, value in (("prompt", prompt), ("ids", ids)) if value is not None]
    if len(given) != 1:
        raise SamplingError(
            f"{' and '.join(given) or 'neither prompt nor ids'} given; allowed: one of the two",
            hint="pass a prompt as text, or its token ids",
        )


def prepare(
    tokenizer: TokenizerLike,
    n_positions: int,
    vocab_size: int,
    prompt: str | Sequence[str] | None,
    ids: Sequence[int] | None,
    settings: GenerationSettings,
    *,
    names: Sequence[str] = (),
) -> Request:
    """Tokenize the prompts and the texts in the settings; notice what will have no effect.

    Args:
        tokenizer: The model's.
        n_positions: Context length of the model.
        vocab_size: Rows of the model; rows without a token are never generated.
        prompt: A text, or several; None with `ids`.
        ids: Token ids, in place of a prompt.
        settings: How tokens are chosen and when a continuation ends.
        names: What messages call each prompt; "the prompt" by default, or "prompt 2" of several.

    Raises:
        SamplingError: no prompt, a prompt without tokens or with half a surrogate pair, or
            top_logprobs above vocab_size.
        TokenOutOfRange: an id outside the vocabulary.
        ContextTooLong: beam search or contrastive search exceeds the context length.
    """
    if ids is not None:
        prompts = [ids_prompt(tokenizer, ids, vocab_size)]
    else:
        texts = [prompt] if isinstance(prompt, str) else list(prompt or ())
        names = names or prompt_names(len(texts))
        prompts = [text_prompt(tokenizer, *named) for named in zip(texts, names, strict=True)]
        tell_unknown(tokenizer, [token_id for one in prompts for token_id in one.ids])
    if not prompts:
        raise SamplingError("prompt is an empty list; allowed: one text or more", hint="pass one")
    return request_of(tokenizer, n_positions, vocab_size, prompts, settings)


def request_of(
    tokenizer: TokenizerLike,
    n_positions: int,
    vocab_size: int,
    prompts: list[Prompt],
    settings: GenerationSettings,
) -> Request:
    """A request for prompts that are tokenized; see `prepare`.

    Raises:
        SamplingError: top_logprobs above vocab_size, or a setting that is not Unicode.
        ContextTooLong: beam search or contrastive search exceeds the context length.
    """
    every_ids = [one.ids for one in prompts]
    names = [one.name for one in prompts]
    if settings.num_beams > 1 or settings.penalty_alpha:  # these do not slide
        # contrastive search processes its last token too, to choose it
        more = settings.max_new_tokens - (settings.penalty_alpha == 0)
        for name, prompt_ids in zip(names, every_ids, strict=True):
            check_length(n_positions, prompt_ids, more, name)
    else:
        tell_length(n_positions, every_ids, settings, names)
    tell_without_effect(settings, every_ids)
    require(
        settings.top_logprobs <= vocab_size,
        "top_logprobs",
        settings.top_logprobs,
        f"0 to {vocab_size}",
        "0 disables",
    )
    bans = _bans(tokenizer, settings)
    biased = _biased(tokenizer, settings.bias)
    no_token = range(len(tokenizer), vocab_size)
    as_ids = derived(
        settings,
        suppress_tokens=(*settings.suppress_tokens, *no_token),
        sequence_bias={
            **settings.sequence_bias,
            **{ids: settings.bias[text] for text, ids in biased.items()},
        },
    )
    stop = _forms(tokenizer, settings.stop)
    return Request(prompts, as_ids, stop, settings.top_logprobs, bans)


def truncated(
    tokenizer: TokenizerLike,
    prompts: Sequence[Prompt],
    length: int,
    side: Literal["left", "right"] = "left",
) -> list[Prompt]:
    """Prompts of at most `length` tokens, with a notice if tokens are dropped.

    Args:
        tokenizer: The model's.
        prompts: Of a request.
        length: Number of tokens to keep, 1 or more.
        side: Where tokens are dropped. Of a prompt that loses its start, the text is kept: the
            readable form of what follows depends on its end only.
    """
    lost = [max(0, len(one.ids) - length) for one in prompts]
    if any(lost):
        count, total = sum(each > 0 for each in lost), len(prompts)
        tell("text-truncated", count=count, total=total, max_length=length, lost=sum(lost))
    found = []
    for one in prompts:
        if side == "left":
            found.append(replace(one, ids=one.ids[-length:], whole=len(one.ids) <= length))
        else:
            ids = one.ids[:length]
            text, after_word = decode(tokenizer, ids), ends_word(tokenizer, ids[-1])
            whole = len(ids) == len(one.ids)
            found.append(one if whole else Prompt(text, ids, after_word, False, one.name))
    return found


def with_end_tokens(settings: GenerationSettings, config: OpenAIGPTConfig) -> GenerationSettings:
    """The settings with the end tokens of a model's configuration; GPT-1 itself has none."""
    end_ids = config.eos_token_id
    if end_ids is None:
        return settings
    end_ids = end_ids if isinstance(end_ids, list) else [end_ids]
    return derived(settings, eos_token_id=(*settings.eos_token_id, *end_ids))


def tell_unknown(tokenizer: TokenizerLike, ids: Sequence[int]) -> None:
    """Give notice of tokens that the vocabulary does not have.

    Args:
        tokenizer: The model's.
        ids: Of all prompts.
    """
    count = sum(token_id == tokenizer.unk_token_id for token_id in ids)
    if count:
        tell("prompt-unknown", count=count, total=len(ids))


def tell_length(
    n_positions: int,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    names: Sequence[str] = (),
) -> None:
    """Give notice of prompts that are truncated, and of texts that outgrow the context.

    Args:
        n_positions: Context length of the model.
        prompts: The ids of each.
        settings: Of the request; greedy search or sampling.
        names: What the notices call each prompt.
    """
    for ids, name in zip(prompts, names or prompt_names(len(prompts)), strict=True):
        if len(ids) > n_positions:
            tell("prompt-cut", prompt=name, tokens=len(ids), n_positions=n_positions)
    if any(slides(n_positions, len(ids), settings.max_new_tokens) for ids in prompts):
        tell("context-slides", n_positions=n_positions, kept=kept_when_full(n_positions))


def check_unicode(name: str, text: str) -> None:
    """Refuse text that is not Unicode, which no tokenizer can encode.

    Bytes of an argument that are not UTF-8 reach Python as half surrogate pairs.

    Raises:
        SamplingError: half a surrogate pair; the message calls the text `name`.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SamplingError(
            f"{name} is not UTF-8: character {error.start} of {text!r} is half a surrogate pair",
            hint="pass UTF-8 text; iconv -t utf-8 converts other encodings",
        ) from error


def prompt_names(count: int) -> list[str]:
    """What messages call prompts: by number, if there are several."""
    return [THE_PROMPT] if count == 1 else [f"prompt {number}" for number in range(1, count + 1)]


def text_prompt(tokenizer: TokenizerLike, text: str, name: str = THE_PROMPT) -> Prompt:
    """Tokenize a prompt.

    Raises:
        SamplingError: it has no tokens, or half a surrogate pair; the message calls it `name`.
    """
    check_unicode(name, text)
    ids = tokenizer.encode(text, add_special_tokens=False)
    if not ids:
        raise SamplingError(
            f"{name} {text!r} has no tokens; at least one is required",
            hint="pass at least one word",
        )
    return Prompt(text, ids, after_word=space_follows(tokenizer, text), name=name)


def ids_prompt(
    tokenizer: TokenizerLike, ids: Sequence[int], vocab_size: int, name: str = THE_PROMPT
) -> Prompt:
    """A prompt of token ids.

    Raises:
        SamplingError: there are none.
        TokenOutOfRange: one is outside the vocabulary.
    """
    prompt = [index(token_id) for token_id in ids]
    of = "" if name == THE_PROMPT else f" of {name}"
    for position, token_id in enumerate(prompt):
        if not 0 <= token_id < vocab_size:
            raise TokenOutOfRange(
                f"the id at position {position}{of} is {token_id}; allowed: 0 to {vocab_size - 1}",
                hint="use ids of this model's tokenizer",
            )
    if not prompt:
        raise SamplingError(
            f"ids{of} has no tokens; at least one is required",
            hint="pass at least one token id",
        )
    after_word = ends_word(tokenizer, prompt[-1])
    return Prompt(decode(tokenizer, prompt), prompt, after_word, typed=False, name=name)


def _biased(tokenizer: TokenizerLike, texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The ids of texts to bias, with a notice for those the vocabulary cannot spell."""
    found = {}
    for text in texts:
        check_unicode("bias", text)
        ids = tokenizer.encode(text, add_special_tokens=False)
        if ids and not has_unknown(tokenizer, text, ids):
            found[text] = tuple(ids)
        else:
            _tell_unspellable("bias", text)
    return found


def _bans(tokenizer: TokenizerLike, settings: GenerationSettings) -> list[Rule]:
    """The rule for texts to ban, with a notice for those the vocabulary cannot spell."""
    banned = []
    for text in settings.ban:
        check_unicode("ban", text)
        one = banned_text(tokenizer, text)
        if one is None:
            _tell_unspellable("ban", text)
        else:
            banned.append(one)
    if not banned:
        return []
    return [Bans(tokenizer, banned, settings.eos_token_id, settings.max_new_tokens)]


def _tell_unspellable(setting: str, text: str) -> None:
    reason = "the vocabulary cannot spell it"
    tell("setting-without-effect", setting=f"{setting}={text!r}", reason=reason)


def _forms(tokenizer: TokenizerLike, stop: Sequence[str]) -> list[str]:
    forms: list[str] = []
    for string in stop:
        check_unicode("stop", string)
        writable = stop_forms(tokenizer, string)
        forms += writable
        if not writable:
            _tell_unspellable("stop", string)
    return forms
