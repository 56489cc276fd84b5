"""Streaming text: new tokens become words, and stop strings end the text.

GPT-1's vocabulary marks the end of a word (`</w>`), so a word is known to be complete as soon as it
is, and text that was shown never changes. Byte-level tokens contain their spaces, and their text is
shown as soon as its last character has all of its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from ogpt.tokens.byte_words import BYTE_LETTERS
from ogpt.tokens.surface import Readable

END_OF_WORD = "</w>"
REPLACEMENT = "\ufffd"
"""What bytes that are no character are decoded to."""


class TokenizerLike(Protocol):
    """The part of a tokenizer that text generation needs."""

    @property
    def unk_token_id(self) -> int | None:
        """The id of text that the vocabulary does not have."""
        ...

    def __len__(self) -> int:
        """Number of token ids that have a text: 0 to len - 1."""
        ...

    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]:
        """The ids of a text."""
        ...

    def decode(self, ids: list[int], /, *, clean_up_tokenization_spaces: bool) -> str:
        """The text of ids, with one space between words."""
        ...

    def convert_ids_to_tokens(self, ids: list[int], /) -> list[str]:
        """The vocabulary entries of ids; an entry that ends a word ends with END_OF_WORD."""
        ...

    def get_vocab(self) -> dict[str, int]:
        """All entries and their ids."""
        ...


_BYTE_LEVEL: WeakKeyDictionary[TokenizerLike, bool] = WeakKeyDictionary()
_CHARACTERS: WeakKeyDictionary[TokenizerLike, tuple[int, frozenset[str]]] = WeakKeyDictionary()


class _Entry(NamedTuple):
    """A vocabulary entry."""

    text: str
    """It alone, decoded."""
    ends_word: bool


_ENTRIES: WeakKeyDictionary[TokenizerLike, dict[int, _Entry]] = WeakKeyDictionary()
"""The entries that were written, by id: looking one up again takes longer than the rest."""

_PAIRS: WeakKeyDictionary[TokenizerLike, dict[tuple[int, int], str]] = WeakKeyDictionary()
"""What a piece adds to a word after another piece, likewise."""

_MOST_PAIRS = 2**14  # about 2 MB


class Writer:
    """Turns the tokens of one continuation into text as they arrive.

    All that `write` and `finish` return, joined, is `tokenizer.decode` of all the ids, after a
    space if `after_word`; or that text up to the first stop string. `stopped` becomes true with
    the first token that completes a stop string, which is then `stop_string`. The text of the
    first `min_tokens` tokens is not searched. With a `surface`, the text is what it makes of that.

    Args:
        tokenizer: Turns ids into text.
        after_word: The prompt ends with a word, and not with white space.
        stop: Strings that end the text; they and what follows them are never shown.
        min_tokens: A stop string counts only after the text of this number of tokens.
        surface: Makes the text readable, after stop strings were searched.
    """

    def __init__(
        self,
        tokenizer: TokenizerLike,
        *,
        after_word: bool = False,
        stop: Sequence[str] = (),
        min_tokens: int = 0,
        surface: Readable | None = None,
    ) -> None:
        self.stopped = False
        self.stop_string = ""
        self._tokenizer = tokenizer
        self._entries = _ENTRIES.setdefault(tokenizer, {})
        self._pairs = _PAIRS.setdefault(tokenizer, {})
        self._stop = tuple(stop)
        self._min_tokens = min_tokens
        self._surface = surface
        self._n_tokens = 0
        self._bytes = is_byte_level(tokenizer)
        self._after_word = after_word  # the next text follows a complete word
        self._held = ""  # complete words that are not shown yet
        self._word: list[int] = []  # the pieces of the unfinished word
        self._spelled = ""  # they, decoded
        self._exempt = 0  # hidden characters that no stop string may begin in

    def write(self, token_id: int) -> str:
        """Add a token, and return the text that can be shown now, which is often empty.

        Nothing may be written after `stopped`.
        """
        self._n_tokens += 1
        entry = self._entries.get(token_id)
        if entry is None:
            text = decode(self._tokenizer, [token_id])
            entry = self._entries[token_id] = _Entry(text, ends_word(self._tokenizer, token_id))
        self._spell(token_id, entry)
        if not (self._stop or self._bytes or entry.ends_word):
            return self._shown("")
        hidden = self._hidden()
        if self._n_tokens <= self._min_tokens:
            self._exempt = len(hidden)
        complete = not hidden.endswith(REPLACEMENT) if self._bytes else entry.ends_word
        if self._bytes:  # the first bytes of a character, or of none: the next token shows which
            hidden = hidden.removesuffix(REPLACEMENT)
        found = [(at, stop) for stop in self._stop if (at := hidden.find(stop, self._exempt)) >= 0]
        if found:
            self.stopped = True
            first, self.stop_string = min(found)
            self._held, self._word = "", []
            return self._shown(hidden[:first])
        whole = len(self._held)
        if complete:
            self._held, self._word, self._after_word = hidden, [], not self._bytes
            whole = len(hidden)
        shown = min(whole, self._undecided(hidden))
        self._held = self._held[shown:]
        self._exempt = max(0, self._exempt - shown)
        ended = shown > 0 and (hidden[shown : shown + 1] == " " or not (self._held or self._word))
        return self._shown(hidden[:shown], ended)

    def finish(self) -> str:
        """The rest of the text, an unfinished word included, after the last token."""
        hidden = self._hidden()
        self._held, self._word = "", []
        shown = self._shown(hidden)
        return shown if self._surface is None else shown + self._surface.finish()

    def _shown(self, raw: str, ends_word: bool = False) -> str:
        """The next text to show, from its raw form."""
        return raw if self._surface is None else self._surface.write(raw, ends_word)

    def _hidden(self) -> str:
        """All text so far that is not shown yet."""
        if not self._word:
            return self._held
        return self._held + " " * self._after_word + self._spelled

    def _spell(self, token_id: int, entry: _Entry) -> None:
        """Append a token to the unfinished word."""
        self._word.append(token_id)
        if len(self._word) == 1:
            self._spelled = entry.text
        elif self._bytes:  # of one character, mostly
            self._spelled = decode(self._tokenizer, self._word)
        else:  # decoding the whole word at each token would take the square of its length
            before = self._word[-2]
            added = self._pairs.get((before, token_id))
            if added is None:
                if len(self._pairs) >= _MOST_PAIRS:
                    self._pairs.clear()
                last = self._entries[before].text
                added = decode(self._tokenizer, [before, token_id]).removeprefix(last)
                self._pairs[before, token_id] = added
            self._spelled += added

    def _undecided(self, hidden: str) -> int:
        """Start of the first text that may still become a stop string."""
        if not self._stop:
            return len(hidden)
        longest = max(map(len, self._stop))
        for at in range(max(self._exempt, len(hidden) - longest + 1), len(hidden)):
            if any(stop.startswith(hidden[at:]) for stop in self._stop):
                return at
        return len(hidden)


def decode(tokenizer: TokenizerLike, ids: list[int]) -> str:
    """The text of ids, with the spaces that the tokens have."""
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def ends_word(tokenizer: TokenizerLike, token_id: int) -> bool:
    """Whether a token ends a word, so that a space follows it."""
    if is_byte_level(tokenizer):
        return False
    return tokenizer.convert_ids_to_tokens([token_id])[0].endswith(END_OF_WORD)


def is_byte_level(tokenizer: TokenizerLike) -> bool:
    """Whether the tokens are bytes of text, spaces included, and not words.

    The vocabulary shows it, so that tokenizers of transformers may be passed too.
    """
    known = _BYTE_LEVEL.get(tokenizer)
    if known is None:
        known = _BYTE_LEVEL[tokenizer] = tokenizer.get_vocab().keys() >= set(BYTE_LETTERS)
    return known


def space_follows(tokenizer: TokenizerLike, text: str) -> bool:
    """Whether the first word after a text is separated from it by a space that no token has."""
    return not text[-1].isspace() and not is_byte_level(tokenizer)


def stop_forms(tokenizer: TokenizerLike, stop: str) -> tuple[str, ...]:
    """The forms of a stop string that a vocabulary can spell; none if it can never occur.

    Byte-level tokens spell every text.
    GPT-1 generates lower-case words with a space between any two, so `The End.` is also searched as
    `the end .`.
    """
    if is_byte_level(tokenizer):
        return (stop,)
    forms = [stop]
    ids = tokenizer.encode(stop, add_special_tokens=False)
    if ids and tokenizer.unk_token_id not in ids:
        before, after = (" " if end.isspace() else "" for end in (stop[0], stop[-1]))
        forms.append(before + decode(tokenizer, ids) + after)
    characters = _characters(tokenizer)
    return tuple(form for form in dict.fromkeys(forms) if set(form) <= characters)


def _characters(tokenizer: TokenizerLike) -> frozenset[str]:
    """The characters that a vocabulary of words can spell."""
    size, known = _CHARACTERS.get(tokenizer, (0, frozenset()))
    if size != len(tokenizer):  # it takes milliseconds, and there may be many stop strings
        entries = "".join(tokenizer.get_vocab()).replace(END_OF_WORD, "")
        known = frozenset(entries) | {" "}
        _CHARACTERS[tokenizer] = (len(tokenizer), known)
    return known
