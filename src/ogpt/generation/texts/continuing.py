"""From a request to texts: tokens come from a Stepper, words from a Writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from ogpt.errors import OgptError
from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.protocol.likelihood import TopLogProbs
from ogpt.generation.searching.assistant import Assistant
from ogpt.generation.searching.beam import Beams
from ogpt.generation.searching.beam import never as never_ends
from ogpt.generation.searching.contrastive import Contrastive
from ogpt.generation.searching.sampling import Sampling, tell_drafts
from ogpt.generation.searching.stepper import Stepper
from ogpt.generation.searching.text import (
    BeamStep,
    Failed,
    FinishReason,
    Hypotheses,
    Hypothesis,
    Late,
    ScoringOf,
    Text,
    Token,
    choosing_of,
)
from ogpt.generation.texts.request import THE_PROMPT, Prompt, Request
from ogpt.generation.texts.writer import TokenizerLike, Writer

OnText = Callable[[int, str], None]
"""Receives (number of the generation, its next text); the texts of one, joined, are its `text`."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One continuation of a prompt."""

    text: str
    """What follows the prompt: `prompt + text` is the whole, with a space where one belongs."""
    prompt: str
    """The prompt as it was passed; of token ids, their text."""
    ids: list[int]
    """The new tokens, including those of a stop string and the end token."""
    finish_reason: FinishReason
    """stop: a stop string or an end token; length: max_new_tokens were generated; max_time: the
    time was over first; abort: the server was stopped first."""
    log_probs: list[float]
    """Log-probability of each new token under the model, whatever the settings."""
    n_prompt_tokens: int
    top_log_probs: list[TopLogProbs] = field(default_factory=list)
    """The most probable tokens at each step; empty unless requested."""
    stop_string: str = ""
    """The stop string that ended it, as the vocabulary spells it; empty if none did."""


def continuations(
    decoder: Decoder,
    tokenizer: TokenizerLike,
    request: Request,
    on_text: OnText | None = None,
    on_token: Callable[[], None] = lambda: None,
    assistant: Assistant | None = None,
) -> Iterator[tuple[int, Generation]]:
    """Continue the prompts of a request, as many at a time as there are slots for.

    Args:
        decoder: Its slots are left empty.
        tokenizer: Of the model.
        request: What to generate.
        on_text: Called with each text as soon as its words are whole; with beams, when the search
            of a prompt has ended.
        on_token: Called at each new token; with beams, at each step.
        assistant: Drafts tokens. With several slots only the last text is alone, and has drafts.

    Yields:
        (number, continuation) as each ends. Those of the first prompt have the first numbers.
    """
    stepper = Stepper(decoder, prompt_tokens=0)  # one batch: throughput counts
    found = texts(decoder, tokenizer, request, assistant=assistant)
    drafts = {stepper.add(text): draft for draft, text in found}
    show = on_text or (lambda number, text: None)

    def named(failed: Failed) -> Exception:
        """The error of a text that fails; of several, it says which."""
        name, error = drafts[failed.continuation].prompt.name, failed.error
        if name == THE_PROMPT or not isinstance(error, OgptError):
            return error
        return type(error)(f"{name}: {error}", hint=error.hint)

    with closing(stepper.run(named)) as events:
        for event in events:
            draft = drafts.get(event.continuation)
            if draft is None:  # a stop string ended it before this token of the same step
                continue
            if isinstance(event, BeamStep):
                on_token()
            elif isinstance(event, Token):
                on_token()
                text = draft.take(event)
                if text:
                    show(draft.number, text)
                if draft.finish_reason is not None:
                    stepper.cancel(event.continuation)
                    del drafts[event.continuation]
                    yield draft.number, draft.generation()
            elif isinstance(event, Hypotheses):
                on_token()
                for number, hypothesis in enumerate(event.best, draft.number):
                    generation = draft.of_beam(hypothesis)
                    if generation.text:
                        show(number, generation.text)
                    yield number, generation


def slots_of(request: Request, most: int) -> int:
    """Slots that a request can use, at most `most`, but enough for one text."""
    settings = request.settings
    if settings.num_beams > 1 or settings.penalty_alpha:
        each = settings.num_beams if settings.num_beams > 1 else settings.top_k
        return each * min(len(request.prompts), max(1, most // each))
    return min(len(request.prompts) * settings.num_return_sequences, most)


def texts(
    decoder: Decoder,
    tokenizer: TokenizerLike,
    request: Request,
    late: Late | None = None,
    assistant: Assistant | None = None,
    scoring: ScoringOf | None = None,
) -> Iterator[tuple[Draft, Text]]:
    """The texts of a request, by the search that its settings ask for.

    Args:
        decoder: Where they will run.
        tokenizer: Of the model.
        request: What to generate.
        late: Says whether the time of the request is over, in place of max_time.
        assistant: Drafts the tokens of a text that is alone; not with beams or contrastive search.
        scoring: Scores the prompts; not with contrastive search.
    """
    settings = request.settings
    choosing_by = choosing_of(
        settings, decoder.vocab_size, request.bans, top_logprobs=request.top_logprobs, late=late
    )
    per_prompt = settings.num_return_sequences
    tell_drafts(decoder, settings)
    for place, prompt in enumerate(request.prompts):
        first, choosing = place * per_prompt, choosing_by(place)
        if settings.num_beams > 1:
            draft = Draft(tokenizer, request, prompt, first)
            ends = draft.ends_beams if request.stop else never_ends
            beams = Beams(decoder, prompt.ids, choosing, ends)
            beams.scoring = scoring and scoring(place)
            yield draft, beams
            continue
        for number in range(per_prompt):
            draft = Draft(tokenizer, request, prompt, first + number)
            if settings.penalty_alpha:
                yield draft, Contrastive(decoder, prompt.ids, choosing)
            else:
                text = Sampling(decoder, prompt.ids, choosing, number, assistant=assistant)
                if scoring and number == 0:  # the others copy the prompt
                    text.scoring = scoring(place)
                yield draft, text


class Draft:
    """A continuation while it is generated, or the beams of a prompt.

    Attributes:
        number: Of the continuation in its request; with beams, of the first one.
        count: Number of continuations that it becomes.
        prompt: What is continued.
        finish_reason: None while it is generated.
    """

    def __init__(
        self, tokenizer: TokenizerLike, request: Request, prompt: Prompt, number: int
    ) -> None:
        self.number = number
        beams = request.settings.num_beams > 1
        self.count = request.settings.num_return_sequences if beams else 1
        self.finish_reason: FinishReason | None = None
        self._tokenizer = tokenizer
        self._request = request
        self.prompt = prompt
        self._writer = self._new_writer()
        self._texts: list[str] = []
        self._tokens: list[Token] = []

    def take(self, token: Token) -> str:
        """Append a token; return the text that can now be shown."""
        self._tokens.append(token)
        self.finish_reason, text = token.finish_reason, ""
        if token.finish_reason != "stop":  # an end token has no text
            text = self._writer.write(token.id)
            if self._writer.stopped:
                self.finish_reason = "stop"
        self._texts.append(text)
        return text if self.finish_reason is None else text + self.end(self.finish_reason)

    def end(self, reason: FinishReason) -> str:
        """End the continuation here; return the rest of its text."""
        self.finish_reason = reason
        self._texts.append(self._writer.finish())
        return self._texts[-1]

    def generation(self) -> Generation:
        """The continuation, which has ended."""
        assert self.finish_reason is not None
        tokens = self._tokens
        return self._generation(
            "".join(self._texts),
            [token.id for token in tokens],
            self.finish_reason,
            [token.log_prob for token in tokens],
            [token.top_log_probs for token in tokens],
            self._writer.stop_string,
        )

    def ends_beams(
        self, number: int, candidates: Sequence[Sequence[int]], n_prompt: int
    ) -> Sequence[bool]:
        """Whether beams have come to a stop string.

        Their texts are written from the start each time, as beams change with every step.
        """
        return [bool(self._written(ids[n_prompt:])[1]) for ids in candidates]

    def of_beam(self, beam: Hypothesis) -> Generation:
        """The continuation of a beam."""
        at_end = beam.ids[-1] in self._request.settings.eos_token_id  # which has no text
        text, stop = self._written(beam.ids[: -1 if at_end else None])
        reason: FinishReason = "stop" if at_end or stop else "length"
        if reason == "length" and len(beam.ids) < self._request.settings.max_new_tokens:
            reason = "max_time"
        return self._generation(text, beam.ids, reason, beam.log_probs, beam.top_log_probs, stop)

    def _generation(
        self,
        text: str,
        ids: list[int],
        reason: FinishReason,
        log_probs: list[float],
        tops: list[TopLogProbs],
        stop: str,
    ) -> Generation:
        return Generation(
            text=text,
            prompt=self.prompt.text,
            ids=ids,
            finish_reason=reason,
            log_probs=log_probs,
            n_prompt_tokens=len(self.prompt.ids),
            top_log_probs=tops if self._request.top_logprobs else [],
            stop_string=stop,
        )

    def _written(self, ids: Sequence[int]) -> tuple[str, str]:
        """The text of tokens up to a stop string, and that string, empty if there is none."""
        writer = self._new_writer()
        texts = []
        for token_id in ids:
            texts.append(writer.write(token_id))
            if writer.stopped:
                break
        return "".join([*texts, writer.finish()]), writer.stop_string

    def _new_writer(self) -> Writer:
        return Writer(
            self._tokenizer,
            after_word=self.prompt.after_word,
            stop=self._request.stop,
            min_tokens=self._request.settings.min_new_tokens,
            surface=self.prompt.surface(self._tokenizer, self._request.settings),
        )
