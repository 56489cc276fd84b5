"""Texts that are never generated, however the vocabulary spells them.

A word can be written as one token or pieced together from several, so that a ban of its usual ids
is not enough. A `Bans` rule follows the text itself: it excludes each token that would complete a
banned text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ogpt.generation.choosing import processors
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.texts.writer import END_OF_WORD, TokenizerLike, is_byte_level
from ogpt.tokens.byte_words import bytes_of

Gap = Literal["none", "may", "must"]
"""Whether white space stands before a character of a banned text."""

State = tuple[int, bool]
"""Characters of a banned text that the text ends with, and whether white space follows them."""


@dataclass(frozen=True, slots=True)
class Banned:
    """A text to ban: its characters without white space, and the gap before each."""

    characters: str
    gaps: tuple[Gap, ...]

    def walk(self, state: State, fragment: str, final: bool) -> State | None:
        """The state after more text; (-1, False) if the banned text is there, None if it cannot be.

        Args:
            state: Before it.
            fragment: The text.
            final: Whether the text ends with it, or no word continues after a token that ends here.
        """
        matched, spaced = state
        whole = len(self.characters)
        for character in fragment:
            if matched == whole:  # a word may still continue: `cat` is not in `category`
                return None if _is_word(character) else (-1, False)
            gap = self.gaps[matched]
            if character.isspace():
                if gap == "none":
                    return None
                spaced = True
                continue
            if character != self.characters[matched] or (gap == "must" and not spaced):
                return None
            matched, spaced = matched + 1, False
            if matched == whole and not _is_word(character):
                return (-1, False)
        return (-1, False) if final and matched == whole else (matched, spaced)

    def may_begin_after(self, before: str) -> bool:
        """Whether it may begin after this text: a word does not begin inside another."""
        return not (before and _is_word(before[-1]) and _is_word(self.characters[0]))


def banned_text(tokenizer: TokenizerLike, text: str) -> Banned | None:
    """A text in the form in which the tokenizer generates it; None if it cannot.

    White space in it stands for any white space. Where the tokenizer divides words, or at
    punctuation, white space may stand too: `don't` is also banned as `don ' t`.
    """
    if is_byte_level(tokenizer):
        words = _letters(text.encode()).split()
        return _banned(
            "".join(words),
            ["none" if place else "must" for word in words for place in range(len(word))],
        )
    spelled = ""
    gaps: list[Gap] = []
    for part in text.split():
        ids = tokenizer.encode(part, add_special_tokens=False)
        tokens = tokenizer.convert_ids_to_tokens(ids)
        if has_unknown(tokenizer, part, ids):
            return None
        divided = True
        for token in tokens:
            for character in token.removesuffix(END_OF_WORD):
                inside = not divided and _is_word(character) and _is_word(spelled[-1:])
                gaps.append("none" if inside else "may")
                spelled += character
                divided = False
            divided = token.endswith(END_OF_WORD)
        started = len(spelled) - len("".join(t.removesuffix(END_OF_WORD) for t in tokens))
        if started and started < len(spelled):
            gaps[started] = "must"
    return _banned(spelled, gaps)


class Bans:
    """A rule that excludes each token which would complete a banned text.

    Args:
        tokenizer: The model's.
        banned: The texts.
        eos_token_id: Tokens that end the text; they have no text themselves.
        max_new_tokens: The last of them ends the text too.
    """

    def __init__(
        self,
        tokenizer: TokenizerLike,
        banned: Sequence[Banned],
        eos_token_id: Sequence[int],
        max_new_tokens: int,
    ) -> None:
        self._banned = banned
        self._ends = list(eos_token_id)
        self._max_new_tokens = max_new_tokens
        self._bytes = is_byte_level(tokenizer)
        vocab = tokenizer.get_vocab()
        self._fragments = {index: self._fragment(token) for token, index in vocab.items()}
        self._by_first: dict[str, list[int]] = defaultdict(list)
        for index, fragment in self._fragments.items():
            self._by_first[fragment[:1]].append(index)
        longest = max(len(one.characters) for one in banned)
        self._seen = 2 * longest + 2  # tokens that a banned text and its spaces can be made of
        self._completing: dict[tuple[int, State | str, bool], list[int]] = {}

    def __call__(self, ids: Sequence[int], n_prompt: int, logits: Logits) -> Logits:
        """The logits (V,) without the tokens that would complete a banned text."""
        tail = "".join(self._fragments.get(int(index), "") for index in ids[-self._seen :])
        # of byte-level tokens each text ends where it is complete: a space begins the next token
        final = self._bytes or len(ids) - n_prompt >= self._max_new_tokens - 1
        found: set[int] = set()
        for number, banned in enumerate(self._banned):
            found.update(self._started_inside(number, tail[-1:], final))
            for state in _states(banned, tail):
                if self._bytes and state[0] == len(banned.characters):
                    continue  # the prompt ends with it
                found.update(self._completed(number, state, final))
        return processors.ban(logits, sorted(found)) if found else logits

    def _completed(self, number: int, state: State, final: bool) -> list[int]:
        """The tokens that complete a text which has started."""
        key = (number, state, final)
        if key not in self._completing:
            banned = self._banned[number]
            whole = state[0] == len(banned.characters)
            firsts = [
                first
                for first in self._by_first
                if first and (whole or first.isspace() or first == banned.characters[state[0]])
            ]
            found = [
                index
                for first in firsts
                for index in self._by_first[first]
                if banned.walk(state, self._fragments[index], final) == (-1, False)
            ]
            self._completing[key] = found + (self._ends if whole else [])
        return self._completing[key]

    def _started_inside(self, number: int, before: str, final: bool) -> list[int]:
        """The tokens that hold a whole banned text."""
        banned = self._banned[number]
        key = (number, "word" if before and _is_word(before) else "", final)
        if key not in self._completing:
            self._completing[key] = [
                index
                for index, fragment in self._fragments.items()
                if banned.characters in fragment and self._holds(banned, before, fragment, final)
            ]
        return self._completing[key]

    def _holds(self, banned: Banned, before: str, fragment: str, final: bool) -> bool:
        return any(
            banned.may_begin_after(before + fragment[:place])
            and banned.walk((0, False), fragment[place:], final) == (-1, False)
            for place in range(len(fragment))
        )

    def _fragment(self, token: str) -> str:
        """The text of a token in the course of a text."""
        if self._bytes:
            try:
                return _letters(bytes_of(token))
            except KeyError:  # an added token, which is no byte letters
                return _letters(token.encode())
        if token.endswith(END_OF_WORD):
            return token.removesuffix(END_OF_WORD) + " "
        return token


def _states(banned: Banned, tail: str) -> set[State]:
    """How far the end of a text has come in a banned text."""
    found = set()
    place = tail.find(banned.characters[0])
    while place >= 0:
        if banned.may_begin_after(tail[:place]):
            state = banned.walk((0, False), tail[place:], False)
            if state is not None and state[0] > 0:
                found.add(state)
        place = tail.find(banned.characters[0], place + 1)
    return found


def has_unknown(tokenizer: TokenizerLike, text: str, ids: Sequence[int]) -> bool:
    """Whether the ids of a text have an unknown token that the text itself does not spell out."""
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown not in ids:
        return False
    return ids.count(unknown) > text.count(tokenizer.convert_ids_to_tokens([unknown])[0])


def _banned(characters: str, gaps: Iterable[Gap]) -> Banned | None:
    return Banned(characters, ("none", *list(gaps)[1:])) if characters else None


def _letters(utf_8: bytes) -> str:
    """Bytes as characters; those of characters beyond ASCII become letters, as most of them are."""
    return "".join(chr(byte if byte < 128 else 256 + byte) for byte in utf_8)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
