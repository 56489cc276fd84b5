"""New tokens become text, word by word, and stop strings end it.

GPT-1's vocabulary marks the end of a word (`</w>`), so a word is known to be whole the moment it
is, and nothing that was shown is ever taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

END_OF_WORD = "</w>"


class Vocabulary(Protocol):
    """What writing asks of a tokenizer."""

    @property
    def unk_token_id(self) -> int | None:
        """The id that stands for what the vocabulary lacks."""
        ...

    def __len__(self) -> int:
        """Token ids that have a text: 0 to len - 1."""
        ...

    def encode(self, text: str, /) -> list[int]:
        """The ids of a text."""
        ...

    def decode(self, ids: list[int], /, *, clean_up_tokenization_spaces: bool) -> str:
        """The text of ids: one space after each word but the last."""
        ...

    def convert_ids_to_tokens(self, ids: list[int], /) -> list[str]:
        """The vocabulary entries of ids; those that end a word end with END_OF_WORD."""
        ...

    def get_vocab(self) -> dict[str, int]:
        """All entries and their ids."""
        ...


class Writer:
    """The text of one continuation while its tokens come in.

    With `text` for all that `write` and `finish` returned, joined: when no stop string occurs,
    `text` is `tokenizer.decode` of all the ids, after a space when `after_word`. Else it is that
    text up to the first stop string, and `stopped` turns true with the first token that completes
    one. Text before the end of `min_tokens` tokens is not searched.

    Args:
        tokenizer: Turns ids into text.
        after_word: The text before ends a word and no white space follows it.
        stop: Strings that end the text; they and what follows are never shown.
        min_tokens: A stop string counts when it begins after the text of so many tokens.
    """

    def __init__(
        self,
        tokenizer: Vocabulary,
        *,
        after_word: bool = False,
        stop: Sequence[str] = (),
        min_tokens: int = 0,
    ) -> None:
        self.stopped = False
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._min_tokens = min_tokens
        self._n_tokens = 0
        self._after_word = after_word  # what comes next follows a whole word
        self._held = ""  # whole words that are not shown yet
        self._word: list[int] = []  # the pieces of the word being written
        self._exempt = 0  # characters of what is not shown that no stop string may begin in

    def write(self, token_id: int) -> str:
        """Take one more token; the text that can now be shown, often none.

        After `stopped`, nothing more may be written.
        """
        self._n_tokens += 1
        self._word.append(token_id)
        hidden = self._hidden()
        if self._n_tokens <= self._min_tokens:
            self._exempt = len(hidden)
        found = [at for stop in self._stop if (at := hidden.find(stop, self._exempt)) >= 0]
        if found:
            self.stopped = True
            self._held, self._word = "", []
            return hidden[: min(found)]
        whole = len(self._held)
        if ends_word(self._tokenizer, token_id):
            self._held, self._word, self._after_word = hidden, [], True
            whole = len(hidden)
        shown = min(whole, self._undecided(hidden))
        self._held = self._held[shown:]
        self._exempt = max(0, self._exempt - shown)
        return hidden[:shown]

    def finish(self) -> str:
        """No more tokens come: what is left to show, a word without its end included."""
        hidden = self._hidden()
        self._held, self._word = "", []
        return hidden

    def _hidden(self) -> str:
        """All text so far that is not shown."""
        if not self._word:
            return self._held
        space = " " if self._after_word else ""
        return self._held + space + decode(self._tokenizer, self._word)

    def _undecided(self, hidden: str) -> int:
        """Where the first text begins that may yet become a stop string."""
        longest = max(map(len, self._stop), default=1)
        for at in range(max(self._exempt, len(hidden) - longest + 1), len(hidden)):
            if any(stop.startswith(hidden[at:]) for stop in self._stop):
                return at
        return len(hidden)


def decode(tokenizer: Vocabulary, ids: list[int]) -> str:
    """The text of ids as a Writer writes it: spaces stay where the tokens have them."""
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def ends_word(tokenizer: Vocabulary, token_id: int) -> bool:
    """Whether a token ends a word, so that a space follows it."""
    return tokenizer.convert_ids_to_tokens([token_id])[0].endswith(END_OF_WORD)


def stop_forms(tokenizer: Vocabulary, stop: str) -> tuple[str, ...]:
    """The forms of a stop string that this vocabulary can write: as given, and as it spells it.

    GPT-1 writes lower-case words with a space between any two, so `The End.` is looked for as
    `the end .`. None at all: the string can never occur.
    """
    forms = [stop]
    ids = tokenizer.encode(stop)
    if ids and tokenizer.unk_token_id not in ids:
        before, after = (" " if end.isspace() else "" for end in (stop[0], stop[-1]))
        forms.append(before + decode(tokenizer, ids) + after)
    characters = set("".join(tokenizer.get_vocab()).replace(END_OF_WORD, "")) | {" "}
    return tuple(form for form in dict.fromkeys(forms) if set(form) <= characters)
