"""Banned texts are not generated, however tokens spell them; other words are."""

import random
import re
from collections.abc import Sequence

import numpy as np
import pytest

import ogpt
from ogpt.generation.texts.bans import Banned, Bans, banned_text
from ogpt.tokens.byte_words import BYTE_LETTERS
from tests.markov import StandInTokenizer

LIMIT = 24


def allowed(
    tokenizer: object, bans: Sequence[str], ids: list[int], n_prompt: int = 0, limit: int = LIMIT
) -> set[int]:
    """The tokens that may follow."""
    found = [banned_text(tokenizer, text) for text in bans]  # type: ignore[arg-type]
    assert all(isinstance(one, Banned) for one in found)
    rule = Bans(tokenizer, found, [], limit)  # type: ignore[arg-type]
    logits = rule(ids, n_prompt, np.zeros(len(tokenizer), np.float32))  # type: ignore[arg-type]
    return set(np.flatnonzero(np.isfinite(logits)).tolist())


def pieces(tokenizer: StandInTokenizer, text: str) -> list[int]:
    vocab = tokenizer.get_vocab()
    return [vocab[piece] for piece in text.split()]


def vocabulary(*entries: str) -> ogpt.OpenAIGPTTokenizerFast:
    letters = [*"abcdegorty'.", *(f"{letter}</w>" for letter in "abcdegorty'.")]
    vocab = {token: place for place, token in enumerate(["<unk>", *letters, *entries])}
    return ogpt.OpenAIGPTTokenizerFast(vocab=vocab, merges=[])


def follows(tokenizer: ogpt.OpenAIGPTTokenizerFast, ban: str, written: str, token: str) -> bool:
    """Whether a token may follow these tokens."""
    vocab = tokenizer.get_vocab()
    return vocab[token] in allowed(tokenizer, [ban], [vocab[piece] for piece in written.split()])


@pytest.mark.parametrize(
    ("ban", "written", "token", "may"),
    [
        ("cat", "", "cat</w>", False),
        ("cat", "c", "at</w>", False),
        ("cat", "c a", "t</w>", False),
        ("Cat", "a</w> c a", "t</w>", False),  # as the tokenizer lower-cases it
        ("cat", "cat", "egory</w>", True),  # another word
        ("cat", "", "cat", True),
        ("cat", "cat", ".</w>", False),
        ("cat", "o c a", "t</w>", True),  # the end of another word
        ("cat", "o", "cat</w>", True),
        ("cat", "'", "cat</w>", False),
        ("a cat", "a</w> c a", "t</w>", False),
        ("a  cat", "a</w> c a", "t</w>", False),
        ("a cat", "b</w> c a", "t</w>", True),
        ("a cat", "a c a", "t</w>", True),  # `acat`
        ("a cat", "o a</w> c a", "t</w>", True),
        ("cat.", "cat</w>", ".</w>", False),
        ("cat.", "cat", ".</w>", False),
        ("cat.", "cat</w>", ".", False),  # whatever follows, `cat .` is there
        (".", "a", ".</w>", False),
        (".", "", ".", False),
        ("to'd", "to</w> '</w>", "d</w>", False),
        ("to'd", "to '", "d</w>", False),
        ("to'd", "to</w> '", "d</w>", False),
        ("<unk>", "", "<unk>", False),
        ("<unk>", "a", "<unk>", False),
        ("cat", "cat", "<unk>", False),
    ],
)
def test_tokens_that_complete_a_text(ban: str, written: str, token: str, may: bool) -> None:
    tokenizer = vocabulary("cat", "cat</w>", "at</w>", "to", "to</w>", "egory</w>")
    assert follows(tokenizer, ban, written, token) == may


def test_the_last_token_ends_the_text() -> None:
    tokenizer = vocabulary("cat")
    vocab = tokenizer.get_vocab()
    ids = [vocab["a</w>"], vocab["b</w>"]]
    assert vocab["cat"] in allowed(tokenizer, ["cat"], ids, 1, limit=3)
    assert vocab["cat"] not in allowed(tokenizer, ["cat"], ids, 1, limit=2)


def test_an_end_token_ends_the_word_too() -> None:
    tokenizer = vocabulary("cat", "end")
    vocab = tokenizer.get_vocab()
    banned = banned_text(tokenizer, "cat")
    assert banned is not None
    rule = Bans(tokenizer, [banned], [vocab["end"]], LIMIT)
    logits = rule([vocab["cat"]], 0, np.zeros(len(tokenizer), np.float32))
    assert logits[vocab["end"]] == -np.inf
    assert logits[vocab["o"]] == 0


@pytest.mark.parametrize("seed", range(20))
def test_random_texts_hold_no_banned_text(seed: int) -> None:
    chance = random.Random(seed)
    tokenizer = StandInTokenizer("abc.")
    bans = ["".join(chance.choices("abc.  ", k=chance.randint(1, 4))).strip() for _ in range(3)]
    bans = [ban for ban in bans if ban]
    if not bans:
        return
    ids: list[int] = []
    for _ in range(LIMIT):
        free = sorted(allowed(tokenizer, bans, ids))
        if not free:
            break
        ids.append(chance.choice(free))
    text = tokenizer.decode(ids)
    for ban in bans:
        word = re.escape(re.sub(r"\s+", " ", ban)).replace(r"\ ", r"\s+")
        before, after = (r"(?<!\w)" * ban[0].isalnum(), r"(?!\w)" * ban[-1].isalnum())
        assert not re.search(before + word + after, text), (bans, text)


def test_byte_level() -> None:
    entries = [*BYTE_LETTERS, "Ġc", "at", "Ġcat", "cat", "Ġcats"]
    vocab = {token: place for place, token in enumerate(entries)}
    tokenizer = ogpt.OpenAIGPTTokenizer(
        vocab=vocab, merges=[], pre_tokenizer="bytes", unk_token=None
    )
    cases = [
        ("cat", ["a", "Ġc"], "at", False),
        ("cat", ["a"], "Ġcat", False),
        ("cat", ["a"], "Ġcats", True),
        ("cat", ["a"], "cat", True),  # `acat`
        ("Cat", ["a", "Ġc"], "at", True),  # case counts
        ("a cat", ["a", "Ġ", "c"], "at", False),
        ("a cat", ["a", "c"], "at", True),
        ("cat", ["cat"], "Ġc", True),  # of a prompt
        ("é", ["Ã"], "©", False),
    ]
    for ban, written, token, may in cases:
        found = allowed(tokenizer, [ban], [vocab[piece] for piece in written])
        assert (vocab[token] in found) == may, (ban, written, token)


def test_texts_that_cannot_be_spelled() -> None:
    tokenizer = vocabulary()
    assert banned_text(tokenizer, "x") is None
    assert banned_text(tokenizer, " ") is None
    assert banned_text(tokenizer, "<unk> x") is None
    assert banned_text(tokenizer, "<unk> a") is not None
