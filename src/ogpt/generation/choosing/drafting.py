"""How many tokens an assistant drafts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ogpt.config.described import described, keep_fields, with_field_docs
from ogpt.config.ranges import Number, OneOf, Whole
from ogpt.errors import SamplingError

_SCHEDULES = ("constant", "heuristic", "heuristic_transient")


@with_field_docs
@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """The drafts of an assistant, by transformers' names. They change the speed, no text.

    Raises:
        SamplingError: a value outside its range.
    """

    num_assistant_tokens: int = described(
        20, "Maximum number of tokens of a draft.", Whole(1), "20 is transformers' default"
    )
    num_assistant_tokens_schedule: Literal["constant", "heuristic", "heuristic_transient"] = (
        described(
            "constant",
            "constant; or 2 tokens more after a draft that was right, 1 less after another.",
            OneOf(_SCHEDULES),
            "constant is transformers' default",
        )
    )
    assistant_confidence_threshold: float = described(
        0.4,
        "A draft ends with a token that is less probable than this.",
        Number(0, 1),
        "0 makes all drafts equally long",
    )

    def __post_init__(self) -> None:
        keep_fields(self, SamplingError)
