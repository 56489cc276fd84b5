"""What the engine returns for a completion request, as choices of the answer.

Each function returns what a choice gains. Streamed, these are chunks; otherwise `joined` makes
whole choices of them, so that both have the same content.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic_core import to_json

from ogpt.generation.protocol.likelihood import TopLogProbs
from ogpt.generation.searching.text import FinishReason
from ogpt.generation.texts.continuing import Generation
from ogpt.generation.texts.request import Prompt
from ogpt.generation.texts.writer import TokenizerLike, decode, ends_word, stop_forms
from ogpt.serving.completion_plan import CompletionPlan
from ogpt.serving.completion_request import CompletionRequest
from ogpt.serving.completion_response import CompletionChoice, CompletionLogprobs, json_of
from ogpt.serving.prompt_scores import PromptScores
from ogpt.serving.request_stream import Piece
from ogpt.serving.token_report import TokenReport, prompt_part

_NULLS: dict[str, None] = dict.fromkeys(("logprobs", "finish_reason", "stop_reason"))
"""Fields that OpenAI's clients need in every part."""


class CompletionText:
    """Turns results of the engine into parts of choices.

    Args:
        body: The request.
        plan: What it asks for.
        tokenizer: Of the model.

    Attributes:
        completion_tokens: Number of generated tokens so far.
    """

    def __init__(
        self, body: CompletionRequest, plan: CompletionPlan, tokenizer: TokenizerLike
    ) -> None:
        self.completion_tokens = 0
        self._body = body
        self._plan = plan
        self._tokenizer = tokenizer
        self._scored = [1] * len(plan.prompts)  # the first token has no context
        self._late: set[int] = set()  # prompts that were not scored in time
        self._reports = [
            TokenReport(
                tokenizer,
                body.logprobs or 0,
                bool(body.return_tokens_as_token_ids),
                prompt.after_word and not body.echo,
            )
            for prompt in plan.prompts
            for _ in range(plan.n)
        ]

    def starts(self) -> Iterator[CompletionChoice]:
        """What the prompts add to the choices before anything is computed."""
        body = self._body
        for index, prompt in self._indexed():
            choice = _part(index, self._echoed(prompt) if body.echo else "")
            first = prompt.ids[:1]
            if body.echo and body.logprobs is not None:
                choice.logprobs = self._reports[index].part(first, [None])
            if body.prompt_logprobs is not None:
                choice.prompt_logprobs = [None]
            if body.return_token_ids:
                choice.prompt_token_ids = prompt.ids
            if _adds(choice):
                yield choice

    def scores(self, scores: PromptScores) -> Iterator[CompletionChoice]:
        """What log-probabilities of a prompt add to its choices."""
        body, plan = self._body, self._plan
        self._scored[scores.number] += len(scores.ids)
        first = scores.number * plan.n
        for index in range(first, first + plan.n):
            choice = _part(index)
            if body.echo and body.logprobs is not None:
                choice.logprobs = self._reports[index].part(
                    scores.ids, scores.log_probs, scores.tops
                )
            if body.prompt_logprobs is not None:
                choice.prompt_logprobs = prompt_part(
                    self._tokenizer,
                    scores.ids,
                    scores.log_probs,
                    scores.tops,
                    body.prompt_logprobs,
                )
            yield choice

    def unscored(self, numbers: Iterable[int]) -> Iterator[CompletionChoice]:
        """What prompts add that were not scored in time: tokens without log-probabilities.

        Args:
            numbers: Of prompts.
        """
        for number in numbers:
            if rest := self._plan.prompts[number].ids[self._scored[number] :]:
                self._late.add(number)
                unknown: list[None] = [None] * len(rest)
                yield from self.scores(PromptScores(number, rest, unknown, [()] * len(rest)))

    def ends(self) -> Iterator[CompletionChoice]:
        """The ends of choices for which nothing is generated."""
        for index, _ in self._indexed():
            choice = _part(index)
            choice.finish_reason = self._reason(index, "length")
            yield choice

    def piece(self, piece: Piece) -> bytes | None:
        """The JSON of what a piece adds; None if that is nothing that a client sees."""
        token, generation = piece.token, piece.generation
        if token is None and generation is not None and self._beams:
            return json_of(self.whole(piece.number, generation))
        self.completion_tokens += token is not None
        if token is not None and generation is None and self._body.logprobs is None:
            return self._plain(piece.number, piece.text, token.id)
        choice = _part(piece.number, piece.text)
        if token is not None:
            self._add_tokens(choice, [token.id], [token.log_prob], [token.top_log_probs])
        if generation is not None:
            self._end(choice, generation)
        return json_of(choice) if _adds(choice) else None

    def _plain(self, index: int, text: str, token_id: int) -> bytes | None:
        """As `piece`, for most pieces: a CompletionChoice would take most of the time of all."""
        choice: dict[str, Any] = {"index": index, "text": text, **_NULLS}
        if self._body.return_token_ids:
            choice["token_ids"] = [token_id]
        elif not text:
            return None
        return to_json(choice)

    def whole(self, index: int, generation: Generation) -> CompletionChoice:
        """What a whole continuation adds.

        Args:
            index: Of the choice.
            generation: The continuation.
        """
        self.completion_tokens += len(generation.ids)
        choice = _part(index, generation.text)
        self._add_tokens(choice, generation.ids, generation.log_probs, generation.top_log_probs)
        self._end(choice, generation)
        return choice

    def best(self, generations: Sequence[Generation]) -> Iterator[CompletionChoice]:
        """The n best continuations of each prompt, the one with the highest mean first.

        Args:
            generations: All that were generated.
        """
        plan = self._plan
        for place in range(len(plan.prompts)):
            first = place * plan.candidates
            found = generations[first : first + plan.candidates]
            if plan.candidates > plan.n:
                found = sorted(found, key=_mean, reverse=True)
                self.completion_tokens += sum(len(each.ids) for each in found[plan.n :])
            for number, generation in enumerate(found[: plan.n]):
                yield self.whole(place * plan.n + number, generation)

    @property
    def _beams(self) -> bool:
        request = self._plan.request
        return request is not None and request.settings.num_beams > 1

    def _echoed(self, prompt: Prompt) -> str:
        """The prompt before its continuation: as it was sent, or the raw text of its tokens.

        Raw, where offsets count in it, and where tokens of it were dropped.
        """
        raw = self._body.logprobs is not None and self._body.surface != "readable"
        if prompt.whole and not raw:
            return prompt.text
        # a prompt that ends with white space has its space, which no token holds, already
        gap = not prompt.after_word and ends_word(self._tokenizer, prompt.ids[-1])
        return decode(self._tokenizer, prompt.ids) + " " * gap

    def _indexed(self) -> Iterator[tuple[int, Prompt]]:
        n = self._plan.n
        for place, prompt in enumerate(self._plan.prompts):
            for index in range(place * n, place * n + n):
                yield index, prompt

    def _add_tokens(
        self,
        choice: CompletionChoice,
        ids: list[int],
        log_probs: Sequence[float],
        tops: Iterable[TopLogProbs],
    ) -> None:
        if self._body.logprobs is not None:
            choice.logprobs = self._reports[choice.index].part(ids, log_probs, tops)
        if self._body.return_token_ids:
            choice.token_ids = ids

    def _end(self, choice: CompletionChoice, generation: Generation) -> None:
        choice.finish_reason = self._reason(choice.index, generation.finish_reason)
        choice.stop_reason = self._stop_reason(generation)

    def _reason(self, index: int, found: FinishReason) -> FinishReason:
        """Why a choice ends, of which the prompt may lack log-probabilities."""
        lacks = index // self._plan.n in self._late
        return "max_time" if lacks and found != "abort" else found

    def _stop_reason(self, generation: Generation) -> int | str | None:
        """The stop string of the request, or the token id, that ended a continuation."""
        if form := generation.stop_string:
            given = self._body.stop or ()
            asked = [given] if isinstance(given, str) else given
            return next(one for one in asked if form in stop_forms(self._tokenizer, one))
        last = generation.ids[-1:] if generation.finish_reason == "stop" else []
        return last[0] if last and last[0] in (self._body.stop_token_ids or ()) else None


def joined(parts: Iterable[CompletionChoice]) -> list[CompletionChoice]:
    """Whole choices from their parts.

    Args:
        parts: Those of each choice in order.
    """
    whole: dict[int, CompletionChoice] = {}
    for part in parts:
        choice = whole.setdefault(part.index, _part(part.index))
        choice.text += part.text
        if part.logprobs is not None:
            choice.logprobs = _extended(choice.logprobs, part.logprobs)
        for name in ("token_ids", "prompt_token_ids", "prompt_logprobs"):
            if (more := getattr(part, name)) is not None:
                setattr(choice, name, [*(getattr(choice, name) or ()), *more])
        if part.finish_reason is not None:
            choice.finish_reason, choice.stop_reason = part.finish_reason, part.stop_reason
    return [whole[index] for index in sorted(whole)]


def _part(index: int, text: str = "") -> CompletionChoice:
    """A part of a choice."""
    return CompletionChoice(index=index, text=text, **_NULLS)


def _adds(part: CompletionChoice) -> bool:
    """Whether a part says anything."""
    others = (part.logprobs, part.finish_reason, part.token_ids, part.prompt_token_ids)
    return part.text != "" or any(each is not None for each in (*others, part.prompt_logprobs))


def _extended(before: CompletionLogprobs | None, more: CompletionLogprobs) -> CompletionLogprobs:
    if before is None:
        return more
    for name in CompletionLogprobs.model_fields:
        getattr(before, name).extend(getattr(more, name))
    return before


def _mean(generation: Generation) -> float:
    """Log-probability per token; of none, a text that ended at once because of the time."""
    return sum(generation.log_probs) / max(1, len(generation.ids))
