"""Where tokens begin in raw text, by words and by bytes."""

from typing import Any

import pytest

from ogpt.serving.token_report import RawOffsets, TokenReport, prompt_part
from ogpt.tokens.byte_words import BYTE_LETTERS
from tests.markov import StandInTokenizer
from tests.serving.small import VOCAB


class Bytes:
    """One token for each byte."""

    unk_token_id = None

    def __len__(self) -> int:
        return 256

    def get_vocab(self) -> dict[str, int]:
        return {letter: token_id for token_id, letter in enumerate(BYTE_LETTERS)}

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return list(text.encode())

    def decode(self, ids: list[int], *, clean_up_tokenization_spaces: bool) -> str:
        return bytes(ids).decode(errors="replace")

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [BYTE_LETTERS[token_id] for token_id in ids]


@pytest.mark.parametrize(
    ("tokenizer", "text", "after_word", "expected"),
    [
        (StandInTokenizer(), "bad cab", False, [0, 1, 2, 4, 5, 6]),
        (StandInTokenizer(), "bad cab", True, [1, 2, 3, 5, 6, 7]),
        (Bytes(), "a ü€b", False, [0, 1, 2, 2, 3, 3, 3, 4]),
        (Bytes(), "a", True, [0]),
    ],
)
def test_offsets(tokenizer: Any, text: str, after_word: bool, expected: list[int]) -> None:
    offsets = RawOffsets(tokenizer, after_word)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert [offsets.append(token_id) for token_id in ids] == expected


def test_parts_are_one_report() -> None:
    def report() -> TokenReport:
        return TokenReport(StandInTokenizer(), 1, as_ids=False, after_word=True)

    ids, log_probs = [3, 12, 5, 14], [None, -1.0, -2.0, -0.5]
    tops = [(), [(7, -0.25), (12, -1.0)], [(5, -2.0)], [(1, -0.125)]]
    whole = report().part(ids, log_probs, tops)
    parts = report()
    found = [
        parts.part(ids[:2], log_probs[:2], tops[:2]),
        parts.part(ids[2:], log_probs[2:], tops[2:]),
    ]
    for name in type(whole).model_fields:
        joined = [*getattr(found[0], name), *getattr(found[1], name)]
        assert joined == getattr(whole, name)
    names = list(VOCAB)
    assert whole.top_logprobs == [
        None,
        {names[7]: -0.25, names[12]: -1.0},
        {names[5]: -2.0},
        {names[1]: -0.125, names[14]: -0.5},
    ]


def test_candidates_of_a_prompt() -> None:
    tops = [(), [(7, -0.25), (12, -1.0), (1, -2.0)], [(5, -0.5), (1, -1.0), (2, -4.0)]]
    first, second, third = prompt_part(StandInTokenizer(), [3, 2, 5], [None, -3.0, -0.5], tops, 2)
    assert first is None
    assert second is not None
    assert third is not None
    assert [(each, one.rank, one.logprob) for each, one in second.items()] == [
        ("7", 1, -0.25),
        ("12", 2, -1.0),
        ("2", None, -3.0),
    ]
    assert list(third) == ["5", "1"]
    assert third["5"].decoded_token == "e"


@pytest.mark.parametrize(
    ("tokenizer", "token_id", "step"), [(StandInTokenizer(), 1, 1), (Bytes(), 0x80, None)]
)
def test_a_word_without_end_costs_no_more_at_each_token(
    tokenizer: Any, token_id: int, step: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    decode = tokenizer.decode

    def counted(ids: list[int], **named: Any) -> Any:
        decoded.append(len(ids))
        return decode(ids, **named)

    monkeypatch.setattr(tokenizer, "decode", counted, raising=False)
    offsets = RawOffsets(tokenizer)
    found = [offsets.append(token_id) for _ in range(1000)]
    assert found == sorted(found)
    assert max(decoded) <= 16
    if step is not None:
        assert found == list(range(0, 1000 * step, step))
