"""The named special tokens of a tokenizer: `<unk>` and what the user adds (`pad_token`, ...)."""

from __future__ import annotations

from typing import Any, Protocol

from ogpt.errors import TokenizerError

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class HasVocabulary(Protocol):
    """What a special token needs of its tokenizer."""

    _special_tokens: dict[str, str]

    def _id_of(self, token: str) -> int | None: ...

    def _token_of(self, token_id: int) -> str: ...

    def __len__(self) -> int: ...


class SpecialToken:
    """An attribute that holds a special token, or None; the token must be in the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: HasVocabulary, owner: type | None = None) -> str | None:
        return tokenizer._special_tokens.get(self.name)

    def __set__(self, tokenizer: HasVocabulary, token: str | None) -> None:
        if token is None:
            tokenizer._special_tokens.pop(self.name, None)
            return
        if tokenizer._id_of(token) is None:
            raise TokenizerError(
                f"{self.name} cannot be {token!r}: it is not in the vocabulary",
                hint=f"tokenizer.add_special_tokens({{'{self.name}': '{token}'}}) adds it",
            )
        tokenizer._special_tokens[self.name] = token


class SpecialTokenId:
    """An attribute that holds the id of a special token, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: HasVocabulary, owner: type | None = None) -> int | None:
        token = tokenizer._special_tokens.get(self.name)
        return None if token is None else tokenizer._id_of(token)

    def __set__(self, tokenizer: HasVocabulary, token_id: int | None) -> None:
        if token_id is not None and not 0 <= token_id < len(tokenizer):
            raise TokenizerError(
                f"{self.name}_id cannot be {token_id}; allowed: 0 to {len(tokenizer) - 1}",
                hint=f"tokenizer.add_special_tokens({{'{self.name}': ...}}) adds a token",
            )
        token = None if token_id is None else tokenizer._token_of(token_id)
        setattr(tokenizer, self.name, token)


def content_of(name: str, token: Any) -> str:
    """A special token as files hold it, a string or a dict with `content`, as a string.

    Raises:
        TokenizerError: it is neither.
    """
    content = token.get("content") if isinstance(token, dict) else token
    if not isinstance(content, str) or not content:
        raise TokenizerError(
            f"{name} is {token!r}; it must be text that is not empty",
            hint=f"give {name} as a string",
        )
    return content
