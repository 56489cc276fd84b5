"""Added tokens with their flags: read from files, and kept apart from each other.

A flag says where a text has the token: `single_word`, `lstrip`, `rstrip`, `normalized`; `special`
marks what decoding may omit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer

from ogpt.errors import TokenizerError
from ogpt.tokens.special_tokens import LISTS, NAMES, content_of

FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def special_token(content: str) -> AddedToken:
    """Make the token that matches a special token in its exact case, wherever it stands."""
    return AddedToken(content, special=True, normalized=False)


def flags_of(token: AddedToken) -> dict[str, bool]:
    """Return the flags of a token by name."""
    return {flag: getattr(token, flag) for flag in FLAGS}


def with_flags(token: AddedToken) -> dict[str, Any]:
    """Return a token as files store it."""
    return {"content": token.content, **flags_of(token)}


def token_of(name: str, item: Any) -> AddedToken:
    """Read a token from a file: a string, or a dict with `content` and flags.

    Args:
        name: What it is, for the error.
        item: What the file has.

    Raises:
        TokenizerError: it has no text.
    """
    content = content_of(name, item)
    given = item if isinstance(item, dict) else {}
    return AddedToken(content, **{flag: bool(given[flag]) for flag in FLAGS if flag in given})


def added_tokens_of(
    pipeline: Mapping[str, Any], settings: Mapping[str, Any], old: Mapping[str, Any]
) -> dict[int, AddedToken]:
    """Return the added tokens by id, from where transformers stored them.

    Args:
        pipeline: Content of tokenizer.json.
        settings: Content of tokenizer_config.json, which has them since 4.34. Where both differ,
            transformers uses this.
        old: Content of added_tokens.json, which has no flags; read if the others have no tokens.
    """
    found = {int(item["id"]): item for item in pipeline.get("added_tokens") or ()}
    listed = settings.get("added_tokens_decoder") or {}
    found |= {int(index): item for index, item in listed.items()}
    if not found:
        special = {token.content: token for token in flagged_tokens(settings).values()}
        return {
            int(index): special.get(content) or AddedToken(content, normalized=True)
            for content, index in old.items()
        }
    return {index: token_of("an added token", item) for index, item in found.items()}


def flagged_tokens(names: Mapping[str, Any]) -> dict[str, AddedToken]:
    """Return the special tokens that are listed by name, by their text.

    Args:
        names: Content of special_tokens_map.json and tokenizer_config.json. A dict has flags.
    """
    held = [(name, names[name]) for name in NAMES if names.get(name)]
    held += [(name, item) for name in LISTS for item in listed(names.get(name) or [])]
    found = {}
    for name, item in held:
        flags = {**item, "special": True} if isinstance(item, dict) else item
        token = token_of(name, flags)
        found[token.content] = token if isinstance(item, dict) else special_token(token.content)
    return found


def listed(value: Any) -> list[Any]:
    """Return the items of a list, the values of a dict, or a string alone."""
    if isinstance(value, str):
        return [value]
    return list(value.values()) if isinstance(value, dict) else list(value)


def restore_added(pipeline: Tokenizer, added: Mapping[int, AddedToken]) -> None:
    """Give a pipeline added tokens with their ids.

    Raises:
        TokenizerError: an id is not the next one.
    """
    for index, token in sorted(added.items()):
        pipeline.add_tokens([token])
        if pipeline.token_to_id(token.content) != index:
            raise TokenizerError(
                f"the added token {token.content!r} has the id {index}; allowed: "
                f"{pipeline.token_to_id(token.content)}",
                hint="number added tokens from the end of the vocabulary, without gaps",
            )


def check_apart(
    held: Iterable[AddedToken], new: Sequence[str | AddedToken], form: Callable[[str], str]
) -> None:
    """Check that no text matches two tokens: which of them it became would be arbitrary.

    Args:
        held: The added tokens so far.
        new: Those to add.
        form: What text must be, after normalization, to match a token.

    Raises:
        TokenizerError: two match the same text.
    """
    spelled: dict[str, str] = {}
    contents = [token.content for token in held if token.normalized]
    for content in dict.fromkeys([*contents, *map(str, new)]):
        other = spelled.setdefault(form(content), content)
        if other != content:
            raise TokenizerError(
                f"the added tokens {other!r} and {content!r} match the same text, "
                f"{form(content)!r}",
                hint="add only one of them, or use special tokens, which keep their case",
            )
