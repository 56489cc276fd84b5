"""Named special tokens of a tokenizer: `unk_token`, and those that users add (`pad_token`, ...)."""

from __future__ import annotations

from typing import Any, Protocol

from ogpt.errors import TokenizerError

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class HasVocabulary(Protocol):
    """The part of a tokenizer that its special tokens use."""

    _special_tokens: dict[str, str]

    def _id_of(self, token: str) -> int | None: ...

    def _token_of(self, token_id: int) -> str: ...

    def __len__(self) -> int: ...


class SpecialToken:
    """Descriptor of a special token, or None. The token must be in the vocabulary."""

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
                f"{self.name} is {token!r}; allowed: a token of the vocabulary",
                hint=f"add it with tokenizer.add_special_tokens({{'{self.name}': '{token}'}})",
            )
        tokenizer._special_tokens[self.name] = token


class SpecialTokenId:
    """Descriptor of the id of a special token, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: HasVocabulary, owner: type | None = None) -> int | None:
        token = tokenizer._special_tokens.get(self.name)
        return None if token is None else tokenizer._id_of(token)

    def __set__(self, tokenizer: HasVocabulary, token_id: int | None) -> None:
        if token_id is not None and not 0 <= token_id < len(tokenizer):
            raise TokenizerError(
                f"{self.name}_id is {token_id}; allowed: 0 to {len(tokenizer) - 1}",
                hint=f"add a token with tokenizer.add_special_tokens({{'{self.name}': ...}})",
            )
        token = None if token_id is None else tokenizer._token_of(token_id)
        setattr(tokenizer, self.name, token)


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
