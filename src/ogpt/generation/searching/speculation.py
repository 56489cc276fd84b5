"""Prompt-lookup speculation: text that repeats itself is read several tokens at a time.

What followed the last tokens of a text when they stood in it before is a draft of what follows now
(Saxena 2023, "Prompt lookup decoding"; Yang et al. 2023, arXiv 2304.04487). The decoder reads the
newest token and the draft in one call, which costs far less than a call for each; the search then
chooses from the rows of logits one by one, as it always does. A row is of use as long as the
choices are those of the draft, so no choice is ever another than without speculation, on a decoder
whose logits do not depend on how many tokens it reads at once.

Drafts are read only where that pays. How often they would have been right is known at every token,
drafted or not; what reading them costs is measured on the way; and what wrong ones may cost in all
is bounded (`_MOST_LOST`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.logits import Logits

Clock = Callable[[], float]
"""Seconds since some moment; changes what is drafted, never what is written."""

_NGRAMS = (4, 3, 2)  # lengths of what must have stood before, the longest first
_DRAFTS = (1, 3, 7, 15)  # lengths of a draft: matrices are multiplied by 2, 4, 8, 16 rows
_MEMORY = 1 / 8  # weight of the newest guess, and of the newest time
_FORGETTING = 1 / 512  # a time that was measured long ago is doubted, and tried again
_MOST_LOST = 0.03  # share of all time that drafts may have cost, less what they saved


class Lookup:
    """Guesses what follows a growing text from what followed its last tokens before.

    Attributes:
        rate: Share of the late guesses at the next token that were right.
    """

    def __init__(self) -> None:
        self.rate = 0.0
        self._after: dict[tuple[int, ...], int] = {}  # n-gram -> where its latest was followed
        self._read = 0
        self._place: int | None = None  # of the guess at the next token

    def read(self, ids: Sequence[int]) -> None:
        """Take note of the text as far as it has grown."""
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
        """Whether the text was like this before, so that there is something to draft."""
        return self._place is not None

    def draft(self, ids: Sequence[int], count: int) -> list[int]:
        """`count` tokens that may follow the text that was read; none where it guesses nothing."""
        if self._place is None or not count:
            return []
        period = len(ids) - self._place
        drafted = list(ids[self._place : self._place + count])
        while len(drafted) < count:  # it goes on into itself
            drafted.append(drafted[-period])
        return drafted


class Pace:
    """How many tokens to draft, after what calls of the decoder took; times are in steps.

    Args:
        most: Longest draft; None: whatever pays.
        clock: Tells the time.
    """

    def __init__(self, most: int | None, clock: Clock) -> None:
        self.clock = clock
        self._drafts = [count for count in _DRAFTS if most is None or count <= most]
        self._step = 0.0  # seconds of reading one token
        self._costs: dict[int, float] = {}  # draft length -> steps that reading it took
        self._spent = 0.0  # seconds
        self._saved = 0.0  # steps

    def spend(self, seconds: float) -> None:
        """Take note of time in which no draft was read."""
        self._spent += seconds

    def stepped(self, seconds: float) -> None:
        """Take note of a call that read one token."""
        self.spend(seconds)
        self._step += (seconds - self._step) * (_MEMORY if self._step else 1)
        for count, cost in self._costs.items():
            self._costs[count] += (1 - cost) * _FORGETTING

    def read(self, count: int, seconds: float) -> None:
        """Take note of a call that read a draft of `count` tokens besides."""
        self.spend(seconds)
        cost = seconds / self._step
        self._saved += 1 - cost
        cost = min(cost, count + 1.0)  # if it took longer, something else did
        known = self._costs.get(count)
        self._costs[count] = cost if known is None else known + (cost - known) * _MEMORY

    def right(self) -> None:
        """Take note of a step that a draft has saved."""
        self._saved += 1

    def count(self, rate: float, most: int) -> int:
        """Tokens to draft, 0 to `most`, where each is right with the chance `rate`."""
        best, most_a_step = 0, 1.0
        least, highest, shorter = 1.0, 1.0, 0  # of a draft not yet measured, by a shorter one
        for count in self._drafts:
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
        return cost - 1 - self._saved <= _MOST_LOST * self._spent / self._step


class Lookahead:
    """Reads one text's newest tokens, and drafts of what may follow them.

    Args:
        decoder: Its slot holds all but the newest token of the text.
        slot: Where the text is.
        ids: The text, which grows.
        pace: Of the whole search.
    """

    def __init__(self, decoder: Decoder, slot: int, ids: Sequence[int], pace: Pace) -> None:
        self._decoder = decoder
        self._slot = slot
        self._ids = ids
        self._pace = pace
        self._lookup = Lookup()
        self._ahead: deque[tuple[int, Logits]] = deque()  # drafted tokens, logits after each

    def recall(self) -> Logits | None:
        """The logits (V,) after the newest token if it was drafted; else the draft is dropped."""
        self._lookup.read(self._ids)
        if self._ahead and self._ahead[0][0] == self._ids[-1]:
            self._pace.right()
            return self._ahead.popleft()[1]
        if self._ahead:
            held = self._decoder.length(self._slot)
            self._decoder.truncate(self._slot, held - len(self._ahead))
            self._ahead.clear()
        return None

    def step(self, left: int) -> Logits:
        """Read the newest token, which fits; the logits (V,) after it.

        Args:
            left: Tokens that may still be written.
        """
        room = self._decoder.n_positions - self._decoder.length(self._slot)
        most = min(left, room) - 1 if self._lookup.guesses else 0
        drafted = self._lookup.draft(self._ids, self._pace.count(self._lookup.rate, most))
        begun = self._pace.clock()
        if not drafted:
            part = Part(self._slot, self._ids[-1:])
            row: Logits = self._decoder.run([part]).logits[0]
            self._pace.stepped(self._pace.clock() - begun)
            return row
        part = Part(self._slot, [self._ids[-1], *drafted], "all")
        rows = self._decoder.run([part]).logits
        self._pace.read(len(drafted), self._pace.clock() - begun)
        self._ahead.extend(zip(drafted, rows[1:], strict=True))
        first: Logits = rows[0]
        return first
