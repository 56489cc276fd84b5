"""What is asked of a generation: frozen values, checked once, before any weight is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ogpt.config.described import Option, described, keep_fields, with_field_docs
from ogpt.config.ranges import (
    Bias,
    Decay,
    Function,
    Number,
    OneOf,
    Switch,
    Texts,
    TokenIds,
    TokenWords,
    Whole,
)
from ogpt.errors import SamplingError
from ogpt.generation.choosing.sampling_settings import IDS_HINT, SamplingSettings
from ogpt.generation.choosing.watermarking_config import Watermark, Watermarks

OF_TEXT = ("stop", "ban", "bias", "top_logprobs", "surface", "keep_lower")
"""Settings of a text, which need a tokenizer; a search over token ids does not know them."""

CONSTRAINTS = "Penalties and constraints"
SEARCHES = "Beam and contrastive search"
RUNNING = "Running"

AllowedIds = Callable[[int, Sequence[int]], Sequence[int]]
"""A function of (number of the prompt, ids of a text so far) that returns the ids allowed next."""

_PENALTY_HINT = "pass 0 to disable the penalty"


@with_field_docs
@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings(SamplingSettings):
    """How tokens are chosen and when a continuation ends, by Hugging Face's names.

    Numbers are kept as Python's, sequences as tuples.

    >>> from ogpt import GenerationSettings
    >>> GenerationSettings(num_beams=4, do_sample=False, eos_token_id=[2]).eos_token_id
    (2,)

    Raises:
        SamplingError: a value outside its range, or two that contradict each other.
    """

    repetition_penalty: float = described(
        1.0,
        "Penalize tokens already in the text; 1 disables.",
        Number(0, above=True),
        "pass 1.0 to disable the penalty; 1.2 is a common choice",
        Option(panel=CONSTRAINTS),
    )
    frequency_penalty: float = described(
        0.0,
        "Subtract this from a token's logit each time it was generated; 0 disables.",
        Number(-2, 2),
        _PENALTY_HINT,
        Option(panel=CONSTRAINTS),
    )
    presence_penalty: float = described(
        0.0,
        "Subtract this once if the token was generated; 0 disables.",
        Number(-2, 2),
        _PENALTY_HINT,
        Option(panel=CONSTRAINTS),
    )
    encoder_repetition_penalty: float = described(
        1.0,
        "Favour tokens of the prompt (above 1) or penalize them (below 1); 1 disables.",
        Number(0, above=True),
        "pass 1.0 to disable it",
        Option(panel=CONSTRAINTS),
    )
    no_repeat_ngram_size: int = described(
        0,
        "Never repeat an n-gram of this size, prompt included; 0 disables.",
        Whole(),
        "pass 0 to disable it",
        Option(panel=CONSTRAINTS),
    )
    encoder_no_repeat_ngram_size: int = described(
        0, "Never repeat an n-gram of this size that the prompt has; 0 disables.", Whole(), "pass 0"
    )
    ban: Sequence[str] = described(
        (),
        "Never generate this text, however the vocabulary spells it; repeatable.",
        Texts(),
        "omit an empty text",
        Option(panel=CONSTRAINTS, metavar="TEXT"),
    )
    bias: Mapping[str, float] = described(
        {},
        "Add this number to the logit of this text; repeatable.",
        Bias(Texts(), "texts of one character or more"),
        "pass for example {'the cat': 2.0}",
        Option(panel=CONSTRAINTS, metavar="TEXT=NUMBER"),
    )
    sequence_bias: Mapping[tuple[int, ...], float] = described(
        {},
        "Number to add to the logit of each key's last token after the key's other tokens.",
        Bias(TokenIds(), "tuples of one token id or more"),
        "pass for example {(17,): 2.0}",
    )
    bad_words_ids: Sequence[Sequence[int]] = described(
        (),
        "Sequences of token ids that are never generated.",
        TokenWords(),
        "encode each word with the model's tokenizer",
    )
    suppress_tokens: Sequence[int] = described(
        (), "Token ids that are never generated.", TokenIds(), IDS_HINT
    )
    allowed_token_ids: Sequence[int] = described(
        (),
        "Only these token ids are generated; empty: all. To end the text, include an end token.",
        TokenIds(),
        IDS_HINT,
    )
    prefix_allowed_tokens_fn: AllowedIds | None = described(  # noqa: RUF009  # returns a field
        None,
        "Function of (number of the prompt, ids so far) that returns the ids allowed next.",
        Function(),
        "pass None to allow all tokens",
    )
    begin_suppress_tokens: Sequence[int] = described(
        (), "Token ids that are not generated first.", TokenIds(), IDS_HINT
    )
    forced_bos_token_id: int | None = described(
        None,
        "Token id generated after a prompt of one token; other prompts are not affected.",
        Whole(optional=True),
        "pass None to force no token",
    )
    forced_eos_token_id: Sequence[int] = described(
        (),
        "Token ids, one of which is generated last if max_new_tokens is reached.",
        TokenIds(),
        IDS_HINT,
    )
    exponential_decay_length_penalty: tuple[int, float] | None = described(
        None,
        "A start and a factor: after `start` new tokens, the logits of end tokens rise by "
        "|logit| * (factor ** tokens since - 1).",
        Decay(),
        "pass for example (15, 1.05), or None to disable it",
    )
    remove_invalid_values: bool = described(
        False,
        "Replace NaN logits of the model by 0 and infinite ones by finite ones.",
        Switch(),
        "pass False to get an error for them",
    )
    renormalize_logits: bool = described(
        False,
        "Make the scores of beams log-probabilities again after all rules.",
        Switch(),
        "pass False to keep the scores as the rules leave them",
    )
    watermarking_config: Watermark | None = described(  # noqa: RUF009  # returns a field
        None,
        "Watermark of the text: a WatermarkingConfig or SynthIDTextWatermarkingConfig.",
        Watermarks(),
        "pass ogpt.WatermarkingConfig(), or None to disable it",
    )

    num_beams: int = described(
        1,
        "Number of beams; 1 disables beam search.",
        Whole(1),
        "pass 1 to disable beam search",
        Option("--beams", SEARCHES),
    )
    num_beam_groups: int = described(
        1,
        "Number of groups for diverse beam search.",
        Whole(1),
        "pass 1 to put all beams into one group",
        Option("--beam-groups", SEARCHES),
    )
    diversity_penalty: float = described(
        0.0,
        "Penalize tokens that earlier beam groups chose at this step.",
        Number(0),
        "pass 0 for equal groups; 1.0 is a common choice",
        Option(panel=SEARCHES),
    )
    length_penalty: float = described(
        1.0,
        "Divide a beam's score by its length to this power; above 1 favours longer beams.",
        Number(-100, 100),  # a length to this power is still a float
        "pass 1.0 to compare means, 0.0 to compare sums; more favours longer texts",
        Option(panel=SEARCHES),
    )
    early_stopping: bool | Literal["never"] = described(
        False,
        "Stop at num_beams finished beams (True), when no better ones are expected (False), or "
        'when none are possible ("never").',
        OneOf((True, False, "never")),
        "pass True to stop at num_beams finished texts, 'never' to find the best",
    )
    penalty_alpha: float = described(
        0.0,
        "Contrastive search: similarity penalty, 0 to 1; 0 disables.",
        Number(0, 1),
        "pass 0 to disable contrastive search; 0.6 is a common choice",
        Option(panel=SEARCHES),
    )

    max_time: float | None = described(
        None,
        "End a text after this many seconds, with the token that is being computed.",
        Number(0, optional=True),
        "pass None for no limit",
        Option(panel=RUNNING),
    )
    prompt_lookup_num_tokens: int | None = described(
        None,
        "Maximum draft tokens for prompt lookup; 0 disables. Does not change the output.",
        Whole(optional=True),
        "pass None for an automatic number, 0 to disable it",
        Option("--prompt-lookup", RUNNING, shown_default="auto"),
    )

    def __post_init__(self) -> None:
        keep_fields(self, SamplingError)
        self._check_length_and_count()
        self._check_forced()
        self._check_beams()
        self._check_contrastive()

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
            "raise num_beams or lower num_return_sequences",
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
                "a token that is not in suppress_tokens",
                "remove it from suppress_tokens: a token cannot be both required and suppressed",
            )

    def _check_beams(self) -> None:
        groups = self.num_beam_groups
        require(
            self.num_beams % groups == 0,
            "num_beam_groups",
            groups,
            f"a divisor of num_beams ({self.num_beams})",
            "choose a divisor: every group has the same number of beams",
        )
        require(
            groups == 1 or not self.do_sample,
            "num_beam_groups",
            groups,
            "1 with do_sample=True",
            "disable one of the two: diverse beam search does not sample",
        )
        require(
            groups == 1 or self.diversity_penalty > 0,
            "diversity_penalty",
            self.diversity_penalty,
            f"above 0 with {groups} beam groups",
            "pass a penalty, as all groups are equal without one; 1.0 is a common choice",
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
                f"change it, or pass penalty_alpha=0: contrastive search {hint}",
            )


def require(condition: bool, name: str, seen: object, allowed: str, hint: str) -> None:
    """Check a decoding setting.

    Raises:
        SamplingError: `condition` does not hold.
    """
    if not condition:
        raise SamplingError(f"{name} is {seen!r}; allowed: {allowed}", hint=hint)
