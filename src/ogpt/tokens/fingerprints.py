"""Fingerprints of a tokenizer that may have grown: one for each number of added tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from tokenizers import AddedToken


def fingerprints(base: list[str | None], added: Iterable[tuple[int, AddedToken]]) -> list[str]:
    """Return the SHA-256 (hexadecimal) without added tokens, with the first, with two, ...

    Args:
        base: What determines the ids of text without added tokens.
        added: The added tokens that text can match, with their ids, in order of id.
    """
    sha256 = hashlib.sha256(json.dumps(base).encode())
    found = [sha256.hexdigest()]
    for index, token in added:
        flags = [token.single_word, token.lstrip, token.rstrip, token.normalized]
        sha256.update(json.dumps([index, token.content, flags]).encode())
        found.append(sha256.hexdigest())
    return found
