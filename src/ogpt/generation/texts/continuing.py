"""A request becomes texts: tokens from a search, words from a writer, each text told when whole."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.protocol.likelihood import ChoiceScores, TopLogProbs, score_choices
from ogpt.generation.searching.beam import Hypothesis, beam_search
from ogpt.generation.searching.beam import never as never_ends
from ogpt.generation.searching.contrastive import contrastive_search
from ogpt.generation.searching.search import Ends, FinishReason, Token, search
from ogpt.generation.texts.request import Prompt, Request
from ogpt.generation.texts.writer import Vocabulary, Writer

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
    """Log-probability of each new token under the model, whatever the settings."""
    n_prompt_tokens: int
    top_log_probs: list[TopLogProbs] = field(default_factory=list)
    """Of the most likely tokens in the place of each new one; empty where none were asked for."""


def continuations(
    decoder: Decoder,
    tokenizer: Vocabulary,
    request: Request,
    on_text: OnText | None = None,
    on_token: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, Generation]]:
    """Continue the prompts of a request: by beams where it has some, otherwise token by token.

    Contrastive search is given as many prompts at a time as have slots for their candidates.

    Args:
        decoder: Its slots are left empty.
        tokenizer: Of the model.
        request: What is to be written.
        on_text: Told each text as soon as its words are whole; of beams, when all is written.
        on_token: Called at each new token; of beams, at each step.

    Yields:
        (which one: those of the first prompt first, the continuation) as each comes to its end.
    """
    if request.settings.num_beams > 1:
        yield from _by_beams(decoder, tokenizer, request, on_text, on_token)
    else:
        yield from _one_by_one(decoder, tokenizer, request, on_text, on_token)


def slots_of(request: Request, most: int) -> int:
    """Slots that a request can use, of `most`; but as many as it takes to write one text."""
    settings = request.settings
    if settings.num_beams > 1 or settings.penalty_alpha:
        each = settings.num_beams if settings.num_beams > 1 else settings.top_k
        return each * min(len(request.prompts), max(1, most // each))
    return min(len(request.prompts) * settings.num_return_sequences, most)


@dataclass(slots=True)
class _Draft:
    """A continuation while it is written."""

    prompt: Prompt
    writer: Writer
    texts: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    top_log_probs: list[TopLogProbs] = field(default_factory=list)


def _one_by_one(
    decoder: Decoder,
    tokenizer: Vocabulary,
    request: Request,
    on_text: OnText | None,
    on_token: Callable[[], None],
) -> Iterator[tuple[int, Generation]]:
    settings = request.settings
    drafts = [
        _Draft(prompt, _writer(tokenizer, request, prompt))
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

    with closing(_tokens(decoder, request, ends)) as tokens:
        for token in tokens:
            on_token()
            draft = drafts[token.continuation]
            draft.ids.append(token.id)
            draft.log_probs.append(token.log_prob)
            if request.top_logprobs:
                draft.top_log_probs.append(token.top_log_probs)
            if token.finish_reason is not None:
                show(token.continuation, draft.writer.finish())
                yield (
                    token.continuation,
                    Generation(
                        text="".join(draft.texts),
                        prompt=draft.prompt.text,
                        ids=draft.ids,
                        finish_reason=token.finish_reason,
                        log_probs=draft.log_probs,
                        n_prompt_tokens=len(draft.prompt.ids),
                        top_log_probs=draft.top_log_probs,
                    ),
                )


def _tokens(decoder: Decoder, request: Request, ends: Ends) -> Generator[Token, None, None]:
    """The tokens of all continuations as they come."""
    settings = request.settings
    prompts = [one.ids for one in request.prompts]
    top = request.top_logprobs
    if not settings.penalty_alpha:
        yield from search(decoder, prompts, settings, ends, top_logprobs=top)
        return
    together = max(1, decoder.slots // settings.top_k)
    for first in range(0, len(prompts), together):

        def ends_here(continuation: int, token_id: int, first: int = first) -> bool:
            return ends(first + continuation, token_id)

        part = prompts[first : first + together]
        for token in contrastive_search(decoder, part, settings, ends_here, top_logprobs=top):
            yield token._replace(continuation=first + token.continuation)


def _by_beams(
    decoder: Decoder,
    tokenizer: Vocabulary,
    request: Request,
    on_text: OnText | None,
    on_token: Callable[[], None],
) -> Iterator[tuple[int, Generation]]:
    settings = request.settings
    # stop strings know no prompt beyond its last word, and all prompts of one search share `ends`
    together = 1 if request.stop else max(1, decoder.slots // settings.num_beams)
    number = 0
    for first in range(0, len(request.prompts), together):
        prompts = request.prompts[first : first + together]

        def ends(ids: Sequence[int], n_prompt: int, prompt: Prompt = prompts[0]) -> bool:
            return _written(tokenizer, request, prompt, ids[n_prompt:]).stopped

        found = beam_search(
            decoder,
            [prompt.ids for prompt in prompts],
            settings,
            ends if request.stop else never_ends,
            watch=lambda logits, scores: on_token(),
        )
        for prompt, hypotheses in zip(prompts, found, strict=True):
            new = [one.ids for one in hypotheses]
            scores = score_choices(decoder, prompt.ids, new, request.top_logprobs)
            for hypothesis, its_scores in zip(hypotheses, scores, strict=True):
                generation = _of_beam(tokenizer, request, prompt, hypothesis, its_scores)
                if on_text is not None and generation.text:
                    on_text(number, generation.text)
                yield number, generation
                number += 1


def _of_beam(
    tokenizer: Vocabulary,
    request: Request,
    prompt: Prompt,
    hypothesis: Hypothesis,
    scores: ChoiceScores,
) -> Generation:
    at_end = hypothesis.ids[-1] in request.settings.eos_token_id  # which is no text
    written = _written(tokenizer, request, prompt, hypothesis.ids[: -1 if at_end else None])
    return Generation(
        text=written.text,
        prompt=prompt.text,
        ids=hypothesis.ids,
        finish_reason="stop" if at_end or written.stopped else "length",
        log_probs=scores.log_probs,
        n_prompt_tokens=len(prompt.ids),
        top_log_probs=scores.top_log_probs if request.top_logprobs else [],
    )


@dataclass(frozen=True, slots=True)
class _Written:
    text: str
    stopped: bool


def _written(
    tokenizer: Vocabulary, request: Request, prompt: Prompt, ids: Sequence[int]
) -> _Written:
    """The text of all the tokens, up to a stop string."""
    writer = _writer(tokenizer, request, prompt)
    texts = []
    for token_id in ids:
        texts.append(writer.write(token_id))
        if writer.stopped:
            return _Written("".join(texts), True)
    return _Written("".join([*texts, writer.finish()]), False)


def _writer(tokenizer: Vocabulary, request: Request, prompt: Prompt) -> Writer:
    return Writer(
        tokenizer,
        after_word=prompt.after_word,
        stop=request.stop,
        min_tokens=request.settings.min_new_tokens,
    )
