"""The errors of a call: each has its kind, its text and a hint."""

import re

import pytest

from ogpt.config.call_errors import REFUSALS, refused, unknown_argument
from ogpt.errors import ConfigError, ContextTooLong, TokenOutOfRange

FIELD = re.compile(r"{(\w+)}")


@pytest.mark.parametrize("what", REFUSALS)
def test_every_refusal_shows_what_was_seen_and_what_is_allowed(what: str) -> None:
    message, hint = REFUSALS[what]
    fields = {name: f"<{name}>" for name in FIELD.findall(message + hint)}
    error = refused(what, **fields)
    assert all(value in f"{error} {error.hint}" for value in fields.values())
    assert "allowed" in str(error) or "context length" in str(error)
    assert error.hint


def test_the_kinds() -> None:
    assert type(refused("too-long", tokens=3, n_positions=2)) is ContextTooLong
    fields = {"what": "token id", "value": 9, "last": 8, "hint": "use the same tokenizer"}
    outside = refused("no-embedding", **fields)
    assert type(outside) is TokenOutOfRange
    assert str(outside) == "token id 9 was passed; allowed: 0 to 8"
    assert outside.hint == "use the same tokenizer"
    assert type(refused("no-tokens", shape=(2, 0))) is ConfigError


def test_an_old_name_is_answered_by_the_new_one_where_there_is_one() -> None:
    known = ["input_ids", "labels"]
    assert unknown_argument(["lm_labels"], known, "call").hint == "did you mean labels?"
    assert unknown_argument(["past"], known, "call").hint == "see the arguments of call"
    assert unknown_argument(["input_id"], known, "call").hint == "did you mean input_ids?"
