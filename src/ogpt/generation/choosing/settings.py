"""What is asked of a generation: frozen values, checked once, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, isnan
from numbers import Integral, Real
from typing import Any, Literal

from ogpt.errors import SamplingError

MAX_SEED = 2**64 - 1
"""Seeds are one 64-bit word of the random key."""

MAX_RETURN_SEQUENCES = 65_536
"""Continuations of one prompt, all of which are kept until they are returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """How tokens are chosen and when a continuation ends (Hugging Face's names).

    Numbers are kept as Python's, sequences as tuples.

    >>> from ogpt import GenerationSettings
    >>> GenerationSettings(num_beams=4, do_sample=False, eos_token_id=[2]).eos_token_id
    (2,)

    Raises:
        SamplingError: a value outside its range, or two that contradict each other.
    """

    max_new_tokens: int = 50
    """Most tokens to write, 1 or more."""
    min_new_tokens: int = 0
    """Tokens to write before anything but max_new_tokens may end the text."""
    eos_token_id: Sequence[int] = ()
    """Tokens that end the text; those outside the vocabulary never do."""
    pad_token_id: int | None = None
    """Fills rows of a batch whose text has ended; None where no rows are made."""

    do_sample: bool = True
    """Draw from the distribution; False takes the most likely token (greedy) or beams."""
    temperature: float = 1.0
    """Logits are divided by it; above 0."""
    top_k: int = 0
    """Draw among the k most likely tokens; 0 for all. Of contrastive search: its candidates."""
    top_p: float = 1.0
    """Draw among the fewest tokens that hold this mass; above 0, at most 1."""
    min_p: float = 0.0
    """Draw among tokens at least this times as likely as the most likely one; 0 to 1."""
    typical_p: float = 1.0
    """Draw among the tokens nearest to the entropy that hold this mass; above 0, at most 1."""
    seed: int = 0
    """Key of the random numbers, 0 to MAX_SEED."""
    num_return_sequences: int = 1
    """Continuations of each prompt; with beams, at most num_beams."""

    sequence_bias: Mapping[tuple[int, ...], float] = field(default_factory=dict)
    """Added to the logit of each key's last token when the text ends with its others."""
    repetition_penalty: float = 1.0
    """Makes every token of the text less likely; above 0, 1 for none, below 1 more likely."""
    frequency_penalty: float = 0.0
    """Taken from a logit for each time that its token was written; -2 to 2 (OpenAI)."""
    presence_penalty: float = 0.0
    """Taken from a logit once its token was written; -2 to 2 (OpenAI)."""
    no_repeat_ngram_size: int = 0
    """No sequence of this many tokens occurs twice in the text, prompt included; 0 for any."""
    bad_words_ids: Sequence[Sequence[int]] = ()
    """Sequences of tokens that are never written."""
    suppress_tokens: Sequence[int] = ()
    """Tokens that are never written."""
    allowed_token_ids: Sequence[int] = ()
    """Only these are written (vLLM's name); none: all. An end token must be among them to end the
    text."""
    begin_suppress_tokens: Sequence[int] = ()
    """Tokens that are not written first."""
    forced_bos_token_id: int | None = None
    """Written after a prompt of one token; no other prompt is concerned."""
    forced_eos_token_id: Sequence[int] = ()
    """One of them is written last, when max_new_tokens is reached."""

    num_beams: int = 1
    """Beams of beam search; 1 for none."""
    num_beam_groups: int = 1
    """Groups of beams that differ from each other (diverse beam search)."""
    diversity_penalty: float = 0.0
    """Taken from a logit for each earlier group that took the token at this step; 0 or more."""
    length_penalty: float = 1.0
    """A beam's score is divided by its number of new tokens to this power; -100 to 100."""
    early_stopping: bool | Literal["never"] = False
    """End at num_beams finished beams (True), when none can be expected to be better (False),
    or when none can be better ("never")."""
    penalty_alpha: float = 0.0
    """Weight of likeness to the text in contrastive search, 0 to 1; 0 for another search."""

    prompt_lookup_num_tokens: int | None = None
    """Most tokens that are read ahead where a text repeats itself, which changes its speed, not its
    tokens; 0 for none; None for as many as pay. Only of one text at a time, without beams."""

    def __post_init__(self) -> None:
        for name, (fits, allowed, hint) in _RANGES.items():
            value = getattr(self, name)
            require(fits(value), name, value, allowed, hint)
            if isinstance(value, Real) and not isinstance(value, bool):
                self._keep(name, int(value) if isinstance(value, Integral) else float(value))
        for name in _ID_LISTS:
            self._keep(name, _ids(name, getattr(self, name)))
        self._keep("bad_words_ids", _bad_words(self.bad_words_ids))
        self._keep("sequence_bias", _bias(self.sequence_bias))
        self._check_length_and_count()
        self._check_forced()
        self._check_beams()
        self._check_contrastive()

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_length_and_count(self) -> None:
        require(
            self.min_new_tokens <= self.max_new_tokens,
            "min_new_tokens",
            self.min_new_tokens,
            f"at most max_new_tokens ({self.max_new_tokens})",
            "lower min_new_tokens or raise max_new_tokens",
        )
        name = "num_return_sequences"
        count = self.num_return_sequences
        require(
            self.do_sample or self.num_beams > 1 or count == 1,
            name,
            count,
            "1 without sampling, as greedy continuations are all equal",
            "sample (do_sample=True) or search with beams for different continuations",
        )
        require(
            self.num_beams == 1 or count <= self.num_beams,
            name,
            count,
            f"at most num_beams ({self.num_beams})",
            "raise num_beams or ask for fewer continuations",
        )

    def _check_forced(self) -> None:
        for name, ids in (
            ("forced_bos_token_id", {self.forced_bos_token_id} - {None}),
            ("forced_eos_token_id", set(self.forced_eos_token_id)),
            ("allowed_token_ids", set(self.allowed_token_ids)),
        ):
            require(
                not ids or not ids <= set(self.suppress_tokens),
                name,
                getattr(self, name),
                "a token that suppress_tokens does not hold",
                "take it out of suppress_tokens, as it cannot be asked for and suppressed",
            )

    def _check_beams(self) -> None:
        groups = self.num_beam_groups
        require(
            self.num_beams % groups == 0,
            "num_beam_groups",
            groups,
            f"a divisor of num_beams ({self.num_beams})",
            "every group has as many beams as the others",
        )
        require(
            groups == 1 or not self.do_sample,
            "num_beam_groups",
            groups,
            "1 with do_sample=True",
            "diverse beam search does not sample: switch one of the two off",
        )
        require(
            groups == 1 or self.diversity_penalty > 0,
            "diversity_penalty",
            self.diversity_penalty,
            f"above 0 with {groups} beam groups",
            "without a penalty all groups are equal; 1.0 is a common choice",
        )

    def _check_contrastive(self) -> None:
        if not self.penalty_alpha:
            return
        for name, value, fits, allowed, hint in (
            ("num_beams", self.num_beams, self.num_beams == 1, "1", "has no beams"),
            ("do_sample", self.do_sample, not self.do_sample, "False", "does not sample"),
            ("top_k", self.top_k, self.top_k > 1, "2 or more", "chooses among top_k tokens"),
        ):
            require(
                fits,
                name,
                value,
                f"{allowed} with penalty_alpha ({self.penalty_alpha})",
                f"contrastive search {hint}; penalty_alpha=0 switches it off",
            )


def require(condition: bool, name: str, seen: object, allowed: str, hint: str) -> None:
    """Check a decoding setting.

    Raises:
        SamplingError: `condition` does not hold.
    """
    if not condition:
        raise SamplingError(f"{name} is {seen!r}; allowed: {allowed}", hint=hint)


def _whole(least: int, most: float = inf) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return whole and least <= int(value) <= most

    return fits


def _number(inside: Callable[[float], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Real) and isfinite(value) and inside(float(value))


def _optional_id(value: object) -> bool:
    return value is None or _whole(0)(value)


def _penalty(value: float) -> bool:
    return -2 <= value <= 2


_RANGES: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "max_new_tokens": (_whole(1), "1 or more", "ask for at least one token"),
    "min_new_tokens": (_whole(0), "0 or more", "0 sets no minimum"),
    "pad_token_id": (_optional_id, "a token id, or None", "use the tokenizer's pad_token_id"),
    "do_sample": (
        lambda value: isinstance(value, bool),
        "True or False",
        "True draws tokens, False takes the most likely",
    ),
    "temperature": (
        _number(lambda value: value > 0),
        "a finite number above 0",
        "for the most likely token at every step, switch sampling off (do_sample=False, --greedy)",
    ),
    "top_k": (_whole(0), "0 or more", "0 keeps every token"),
    "top_p": (
        _number(lambda value: 0 < value <= 1),
        "above 0 and at most 1",
        "1.0 keeps every token; 0.9 is a common choice",
    ),
    "min_p": (
        _number(lambda value: 0 <= value <= 1),
        "0 to 1",
        "0 keeps every token; 0.05 is a common choice",
    ),
    "typical_p": (
        _number(lambda value: 0 < value <= 1),
        "above 0 and at most 1",
        "1.0 keeps every token; 0.95 is a common choice",
    ),
    "seed": (_whole(0, MAX_SEED), f"0 to {MAX_SEED}", "choose a seed in that range"),
    "num_return_sequences": (
        _whole(1, MAX_RETURN_SEQUENCES),
        f"1 to {MAX_RETURN_SEQUENCES}",
        "for more, ask again with another seed",
    ),
    "repetition_penalty": (
        _number(lambda value: value > 0),
        "a finite number above 0",
        "1.0 is no penalty; 1.2 is a common choice",
    ),
    "frequency_penalty": (_number(_penalty), "-2 to 2", "0 is no penalty"),
    "presence_penalty": (_number(_penalty), "-2 to 2", "0 is no penalty"),
    "no_repeat_ngram_size": (_whole(0), "0 or more", "0 lets everything be repeated"),
    "forced_bos_token_id": (_optional_id, "a token id, or None", "None forces no token"),
    "num_beams": (_whole(1), "1 or more", "1 searches without beams"),
    "num_beam_groups": (_whole(1), "1 or more", "1 is one group of all beams"),
    "diversity_penalty": (
        _number(lambda value: value >= 0),
        "a finite number, 0 or more",
        "0 lets the groups be equal; 1.0 is a common choice",
    ),
    "length_penalty": (
        _number(lambda value: -100 <= value <= 100),  # a length to this power is still a float
        "a finite number, -100 to 100",
        "1.0 compares mean log-probabilities, 0.0 sums; more favours longer texts",
    ),
    "early_stopping": (
        lambda value: isinstance(value, bool) or value == "never",
        "True, False or 'never'",
        "True ends at num_beams finished texts, 'never' looks for the best",
    ),
    "prompt_lookup_num_tokens": (
        lambda value: value is None or _whole(0)(value),
        "0 or more, or None",
        "None reads ahead as far as it pays, 0 never",
    ),
    "penalty_alpha": (
        _number(lambda value: 0 <= value <= 1),
        "0 to 1",
        "0 switches contrastive search off; 0.6 is a common choice",
    ),
}


_ID_LISTS = (
    "eos_token_id",
    "suppress_tokens",
    "allowed_token_ids",
    "begin_suppress_tokens",
    "forced_eos_token_id",
)


def _ids(name: str, ids: Any) -> tuple[int, ...]:
    require(
        isinstance(ids, Iterable) and all(map(_whole(0), (ids := tuple(ids)))),
        name,
        ids,
        "token ids, each 0 or more",
        "give a list of ids of the model's tokenizer",
    )
    return tuple(map(int, ids))


def _bad_words(words: Any) -> tuple[tuple[int, ...], ...]:
    given = tuple(words) if isinstance(words, Iterable) else ((),)
    kept = tuple(_ids("bad_words_ids", word) for word in given)
    require(
        all(kept),
        "bad_words_ids",
        words,
        "a list of words, each a list of one token id or more",
        "encode each word with the model's tokenizer",
    )
    return kept


def _bias(bias: Mapping[tuple[int, ...], float]) -> dict[tuple[int, ...], float]:
    require(
        isinstance(bias, Mapping)
        and all(isinstance(key, tuple) and key for key in bias)
        and all(
            isinstance(value, Real) and not isnan(value) and value < inf for value in bias.values()
        ),
        "sequence_bias",
        bias,
        "numbers (-inf bans) for tuples of one token id or more",
        "give for example {(17,): 2.0}",
    )
    return {_ids("sequence_bias", key): float(value) for key, value in bias.items()}
