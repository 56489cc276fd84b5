"""Special tokens of a tokenizer: named ones (`pad_token`, ...), and those without a name.

Names and behaviour are those of both versions of transformers: `additional_special_tokens` of
version 4 and `extra_special_tokens` of version 5 are one list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tokenizers import AddedToken

from ogpt.errors import TokenizerError

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
LISTS = ("additional_special_tokens", "extra_special_tokens")
"""The special tokens without a name, in versions 4 and 5 of transformers."""


class SpecialToken:
    """Descriptor of a special token, or None. The token must be in the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: SpecialTokens, owner: type | None = None) -> str | None:
        return tokenizer._special_tokens.get(self.name)

    def __set__(self, tokenizer: SpecialTokens, token: str | AddedToken | None) -> None:
        if token is None:
            tokenizer._special_tokens.pop(self.name, None)
        else:
            tokenizer._special_tokens[self.name] = tokenizer._known(self.name, str(token))


class SpecialTokenId:
    """Descriptor of the id of a special token, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: SpecialTokens, owner: type | None = None) -> int | None:
        token = tokenizer._special_tokens.get(self.name)
        return None if token is None else tokenizer._id_of(token)

    def __set__(self, tokenizer: SpecialTokens, token_id: int | None) -> None:
        if token_id is not None and not 0 <= token_id < len(tokenizer):
            raise TokenizerError(
                f"{self.name}_id is {token_id}; allowed: 0 to {len(tokenizer) - 1}",
                hint=f"add a token with tokenizer.add_special_tokens({{'{self.name}': ...}})",
            )
        token = None if token_id is None else tokenizer._token_of(token_id)
        setattr(tokenizer, self.name, token)


class SpecialTokens(ABC):
    """The special tokens of a tokenizer, by name and as a list."""

    SPECIAL_TOKENS_ATTRIBUTES: ClassVar = list(NAMES)

    unk_token = SpecialToken()
    bos_token = SpecialToken()
    eos_token = SpecialToken()
    sep_token = SpecialToken()
    pad_token = SpecialToken()
    cls_token = SpecialToken()
    mask_token = SpecialToken()
    unk_token_id = SpecialTokenId()
    bos_token_id = SpecialTokenId()
    eos_token_id = SpecialTokenId()
    sep_token_id = SpecialTokenId()
    pad_token_id = SpecialTokenId()
    cls_token_id = SpecialTokenId()
    mask_token_id = SpecialTokenId()

    _special_tokens: dict[str, str]
    """By name: those of NAMES, and names of a model's own, such as `image_token`."""
    _additional: list[str]

    # ---- what a tokenizer provides

    @abstractmethod
    def __len__(self) -> int:
        """Number of entries with added tokens: the rows that the embedding of a model needs."""

    @abstractmethod
    def add_tokens(
        self,
        new_tokens: str | AddedToken | Sequence[str | AddedToken],
        special_tokens: bool = False,
    ) -> int:
        """Add tokens that are never split, and return the number of new ones."""

    @property
    @abstractmethod
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens with their flags, by id: also special tokens inside the vocabulary."""

    @abstractmethod
    def _id_of(self, token: str) -> int | None:
        """Return the id of a token, or None."""

    @abstractmethod
    def _token_of(self, token_id: int) -> str:
        """Return the token of an id in the vocabulary."""

    # ---- named

    if not TYPE_CHECKING:  # so that mypy still finds misspelt attributes

        def __getattr__(self, name: str) -> Any:
            """Return a named token of a model's own (`image_token`), or its id."""
            held = self.__dict__.get("_special_tokens", {})
            if name in held:
                return held[name]
            if name.removesuffix("_id") in held:
                return self._id_of(held[name.removesuffix("_id")])
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Special tokens by name; those without a name as `additional_special_tokens`, if any."""
        named: dict[str, str | list[str]] = dict(self._in_order())
        return {**named, **({LISTS[0]: list(self._additional)} if self._additional else {})}

    @property
    def special_tokens_map_extended(
        self,
    ) -> dict[str, str | AddedToken | list[str | AddedToken]]:
        """The special_tokens_map, with an AddedToken where a token has flags."""
        flagged = self._flagged()
        named: dict[str, str | AddedToken | list[str | AddedToken]] = {
            name: flagged.get(token, token) for name, token in self._in_order().items()
        }
        unnamed = [flagged.get(token, token) for token in self._additional]
        return {**named, **({LISTS[0]: unnamed} if unnamed else {})}

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens, each once, including `<unk>`."""
        return list(dict.fromkeys([*self._in_order().values(), *self._additional]))

    @property
    def all_special_tokens_extended(self) -> list[str | AddedToken]:
        """All special tokens, each once, with an AddedToken where one has flags."""
        flagged = self._flagged()
        return [flagged.get(token, token) for token in self.all_special_tokens]

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of all_special_tokens."""
        return self._ids_of(self.all_special_tokens)

    # ---- without a name

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a name."""
        return list(self._additional)

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Iterable[str | AddedToken] | None) -> None:
        self._additional = [self._known(LISTS[0], str(token)) for token in tokens or ()]

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """Ids of additional_special_tokens."""
        return self._ids_of(self._additional)

    @additional_special_tokens_ids.setter
    def additional_special_tokens_ids(self, ids: Iterable[int]) -> None:
        self.additional_special_tokens = list(map(self._token_of, ids))

    extra_special_tokens = additional_special_tokens
    extra_special_tokens_ids = additional_special_tokens_ids

    # ---- adding

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Any],
        replace_additional_special_tokens: bool = True,
        *,
        replace_extra_special_tokens: bool = True,
    ) -> int:
        """Set special tokens, adding them to the vocabulary if necessary.

        Args:
            special_tokens_dict: Tokens by name: `pad_token`, `cls_token`, ...; a list under
                `additional_special_tokens`, also named `extra_special_tokens`. An AddedToken keeps
                its flags; a string matches anywhere in a text, in its exact case.
            replace_additional_special_tokens: Replace that list. Its old tokens stay in the
                vocabulary, but are no longer special. False appends to it.
            replace_extra_special_tokens: Its name in version 5 of transformers.

        Returns:
            The number of tokens that were not in the vocabulary yet.

        Raises:
            TokenizerError: an unknown name, or a value of the wrong type; nothing is added then.
        """
        replaced = replace_additional_special_tokens and replace_extra_special_tokens
        for name, value in special_tokens_dict.items():
            if not self._is_special(name, value):
                raise TokenizerError(
                    f"{name}={value!r} is not a special token; allowed: a string for "
                    f"{', '.join(NAMES)}, a list for {LISTS[0]}",
                    hint="call for example add_special_tokens({'pad_token': '<pad>'})",
                )
        added = 0
        for name, value in special_tokens_dict.items():
            if name not in LISTS:
                added += self.add_tokens([value], special_tokens=True)
                self._special_tokens[name] = str(value)
                continue
            added += self.add_tokens(list(value), special_tokens=True)
            held = [] if replaced and value else self._additional
            self._additional = list(dict.fromkeys([*held, *map(str, value)]))
        return added

    def _is_special(self, name: str, value: Any) -> bool:
        if name in LISTS:
            return isinstance(value, list | tuple) and all(
                isinstance(token, str | AddedToken) and str(token) for token in value
            )
        return (
            (name in NAMES or name in self._special_tokens)
            and isinstance(value, str | AddedToken)
            and str(value) != ""
        )

    def _in_order(self) -> dict[str, str]:
        """Return the named tokens in the order of NAMES, then those of a model's own."""
        held = self._special_tokens
        return {name: held[name] for name in dict.fromkeys([*NAMES, *held]) if name in held}

    def _flagged(self) -> dict[str, AddedToken]:
        """Return the added tokens whose flags are not those of a string, by their text."""
        return {
            token.content: token
            for token in self.added_tokens_decoder.values()
            if token.single_word or token.lstrip or token.rstrip or token.normalized
        }

    def _known(self, name: str, token: str) -> str:
        """Check that a token is in the vocabulary, and return it."""
        if self._id_of(token) is None:
            given = f"'{token}'" if name in NAMES else f"['{token}']"
            raise TokenizerError(
                f"{name} is {token!r}; allowed: a token of the vocabulary",
                hint=f"add it with tokenizer.add_special_tokens({{'{name}': {given}}})",
            )
        return token

    def _ids_of(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens that are all in the vocabulary."""
        return [index for index in map(self._id_of, tokens) if index is not None]


def content_of(name: str, token: Any) -> str:
    """Return the text of a special token from a file: a string, or a dict with `content`.

    Raises:
        TokenizerError: it is neither.
    """
    content = token.get("content") if isinstance(token, dict) else token
    if not isinstance(content, str) or not content:
        raise TokenizerError(
            f"{name} is {token!r}; allowed: a string that is not empty",
            hint=f"set {name} to a string",
        )
    return content
