"""Log-probabilities of tokens in the shapes of the API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ogpt.generation.protocol.likelihood import TopLogProbs
from ogpt.generation.texts.writer import (
    REPLACEMENT,
    TokenizerLike,
    decode,
    ends_word,
    is_byte_level,
)
from ogpt.serving.completion_response import CompletionLogprobs, PromptLogprobs, TokenLogprob

_MOST_HELD = 16  # tokens whose bytes may still be those of one character, which has four


class RawOffsets:
    """Finds where each token begins in the raw text of all of them.

    Args:
        tokenizer: Of the model.
        after_word: The text begins after a word, so that a space comes first.
    """

    def __init__(self, tokenizer: TokenizerLike, after_word: bool = False) -> None:
        self._tokenizer = tokenizer
        self._bytes = is_byte_level(tokenizer)
        self._space = after_word and not self._bytes
        self._end = 0  # of the last token, or the last whole character
        self._word: list[int] = []

    def append(self, token_id: int) -> int:
        """Append a token; return the number of characters before it."""
        offset = self._end + self._space
        if self._bytes:
            return offset + self._append_bytes(token_id)
        self._end = offset + len(decode(self._tokenizer, [token_id]))
        self._space = ends_word(self._tokenizer, token_id)
        return offset

    def _append_bytes(self, token_id: int) -> int:
        """Append bytes; return the number of characters since the last whole one."""
        held = decode(self._tokenizer, self._word) if self._word else ""
        self._word.append(token_id)
        whole = decode(self._tokenizer, self._word)
        # the bytes of a character are decoded together, unless they are none
        if not whole.endswith(REPLACEMENT) or len(self._word) == _MOST_HELD:
            self._end, self._word = self._end + len(whole), []
        return len(held.rstrip(REPLACEMENT))


class TokenReport:
    """Reports the tokens of one choice, in any number of parts.

    Args:
        tokenizer: Of the model.
        top: Number of top tokens at each position.
        as_ids: Name tokens by id.
        after_word: The text of the choice begins after a word.
    """

    def __init__(self, tokenizer: TokenizerLike, top: int, as_ids: bool, after_word: bool) -> None:
        self._tokenizer = tokenizer
        self._top = top
        self._as_ids = as_ids
        self._offsets = RawOffsets(tokenizer, after_word)

    def part(
        self,
        ids: Sequence[int],
        log_probs: Sequence[float | None],
        tops: Iterable[TopLogProbs] = (),
    ) -> CompletionLogprobs:
        """Report the next tokens.

        Args:
            ids: Of the tokens.
            log_probs: Of each token; None for one without context.
            tops: The most probable tokens at each position, at least as many as asked for; empty
                if none are.
        """
        names = self._names(ids)
        top_log_probs: list[dict[str, float] | None] = []
        for name, own, best in zip(names, log_probs, list(tops) or [()] * len(ids), strict=True):
            if own is None:
                top_log_probs.append(None)
                continue
            kept = best[: self._top]
            found = dict(
                zip(self._names([each for each, _ in kept]), (p for _, p in kept), strict=True)
            )
            top_log_probs.append({**found, name: own})
        return CompletionLogprobs(
            tokens=names,
            token_logprobs=list(log_probs),
            top_logprobs=top_log_probs,
            text_offset=[self._offsets.append(token_id) for token_id in ids],
        )

    def _names(self, ids: Sequence[int]) -> list[str]:
        if self._as_ids:
            return [f"token_id:{token_id}" for token_id in ids]
        return self._tokenizer.convert_ids_to_tokens(list(ids))


def prompt_part(
    tokenizer: TokenizerLike,
    ids: Sequence[int],
    log_probs: Sequence[float | None],
    tops: Iterable[TopLogProbs],
    top: int,
) -> PromptLogprobs:
    """The candidates at tokens of a prompt: the token itself, and the most probable ones.

    Args:
        tokenizer: Of the model.
        ids: Of the tokens.
        log_probs: Of each token; None for one without context.
        tops: The most probable tokens at each position; at least `top`.
        top: Number of them to report.
    """
    found: PromptLogprobs = []
    for token_id, own, best in zip(ids, log_probs, tops, strict=True):
        if own is None:
            found.append(None)
            continue
        kept = [*best[:top]]
        if token_id not in dict(kept):
            kept.append((token_id, own))
        ranks = {each: rank for rank, (each, _) in enumerate(best[:top], 1)}
        found.append(
            {
                str(each): TokenLogprob(
                    logprob=log_prob,
                    rank=ranks.get(each),
                    decoded_token=decode(tokenizer, [each]),
                )
                for each, log_prob in kept
            }
        )
    return found
