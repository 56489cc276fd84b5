"""Prompt lookup decoding: where a text repeats itself, several tokens are computed in one call.

What followed the last tokens of a text at their previous occurrence is a draft of what follows now
(Saxena 2023, "Prompt lookup decoding"; Yang et al. 2023, arXiv 2304.04487). The decoder processes
the newest token and the draft in one call, which costs far less than one call for each. The text
then chooses its tokens from the rows of logits as always; a row counts as long as the choices equal
the draft. With a decoder whose logits are bit-identical however many tokens a call has, drafts
change no token.

Drafts are used only where they pay. The hit rate is known for every token, drafted or not; the cost
of a draft is measured on the way; and the total cost of wrong drafts is bounded (`_MAX_LOSS`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Clock = Callable[[], float]
"""Returns the time in seconds. Changes what is drafted, never what is generated."""

_NGRAMS = (4, 3, 2)  # lengths of the n-gram that must have occurred before, longest first
_DRAFTS = (1, 3, 7, 15)  # lengths of a draft: products then have 2, 4, 8 or 16 rows
_MEMORY = 1 / 8  # weight of the newest guess and of the newest time in running means
_FORGETTING = 1 / 512  # an old cost drifts back to that of one step, so that it is tried again
_MAX_LOSS = 0.03  # share of all time that wrong drafts may cost, net of what drafts have saved


class Lookup:
    """Guesses what follows a growing text from what followed its last tokens before.

    Attributes:
        rate: Share of the recent guesses of the next token that were right.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        self._after: dict[tuple[int, ...], int] = {}  # n-gram -> place after its last occurrence
        self._read = 0
        self._place: int | None = None  # of the guess of the next token

    def read(self, ids: Sequence[int]) -> None:
        """Process the tokens that the text has gained."""
        for end in range(self._read + 1, len(ids) + 1):
            if self._place is not None:
                right = ids[self._place] == ids[end - 1]
                self.rate += _MEMORY * (right - self.rate)
            self._place = None
            for size in _NGRAMS:
                if end >= size:
                    ngram = tuple(ids[end - size : end])
                    if self._place is None:
                        self._place = self._after.get(ngram)
                    self._after[ngram] = end
        self._read = len(ids)

    @property
    def guesses(self) -> bool:
        """Whether the last tokens occurred before, so that there is something to draft."""
        return self._place is not None

    def draft(self, ids: Sequence[int], count: int) -> list[int]:
        """`count` tokens that may follow the text; none without a guess."""
        if self._place is None or not count:
            return []
        period = len(ids) - self._place
        drafted = list(ids[self._place : self._place + count])
        while len(drafted) < count:  # the repetition runs into itself
            drafted.append(drafted[-period])
        return drafted


class Pace:
    """Decides the length of drafts from measured times. Costs are in units of a one-token step."""

    def __init__(self) -> None:
        self._step = 0.0  # seconds of a call for one token
        self._costs: dict[int, float] = {}  # draft length -> cost of its call
        self._spent = 0.0  # seconds
        self._saved = 0.0  # steps

    def spend(self, seconds: float) -> None:
        """Count time without drafts, for example of prompts."""
        self._spent += seconds

    def ran(self, tokens: int, chosen: int, seconds: float) -> None:
        """Count a call for a text that is alone.

        Args:
            tokens: Of the call: 1 and those of the draft.
            chosen: New tokens: 1 and those of the draft that were right.
            seconds: That the call took.
        """
        self.spend(seconds)
        if tokens == 1:
            self._step += (seconds - self._step) * (_MEMORY if self._step else 1)
            for count, cost in self._costs.items():
                self._costs[count] += (1 - cost) * _FORGETTING
            return
        if not self._step:  # an assistant drafts from the first step on, and needs no pace
            return
        cost = seconds / self._step
        self._saved += chosen - cost
        count = tokens - 1
        cost = min(cost, float(tokens))  # a longer call was slow for another reason
        known = self._costs.get(count)
        self._costs[count] = cost if known is None else known + (cost - known) * _MEMORY

    def count(self, rate: float, most: int) -> int:
        """The best length of a draft, 0 to `most`, at a hit rate of `rate`."""
        best, most_a_step = 0, 1.0
        least, highest, shorter = 1.0, 1.0, 0  # bounds of a cost that is not measured yet
        for count in _DRAFTS:
            if count > most:
                break
            least = self._costs.get(count, least)
            highest = self._costs.get(count, highest + count - shorter)
            shorter = count
            tokens = sum(rate**right for right in range(count + 1))
            if tokens / least > most_a_step and self._affords(highest):
                best, most_a_step = count, tokens / least
        return best

    def _affords(self, cost: float) -> bool:
        if not self._step:
            return False
        return cost - 1 - self._saved <= _MAX_LOSS * self._spent / self._step
