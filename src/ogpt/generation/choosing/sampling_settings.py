"""The first half of GenerationSettings: how long texts are, and how tokens are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ogpt.config.described import Option, described, with_field_docs
from ogpt.config.ranges import MAX_SEED, Number, OneOf, Switch, Texts, TokenIds, Whole

MAX_RETURN_SEQUENCES = 65_536
"""Continuations of one prompt, all of which are kept until they are returned."""

SAMPLING = "Sampling"
IDS_HINT = "pass ids of the model's tokenizer"
_TOP_P_HINT = "pass 1.0 to keep every token; 0.9 is a common choice"


@with_field_docs
@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """Length and sampling, by Hugging Face's names; GenerationSettings checks the values."""

    max_new_tokens: int = described(
        50, "Maximum number of new tokens.", Whole(1), "pass at least 1", Option()
    )
    min_new_tokens: int = described(
        0,
        "Minimum number of new tokens, before a stop string or end token counts.",
        Whole(),
        "pass 0 to disable the minimum",
        Option(),
    )
    num_return_sequences: int = described(
        1,
        "Number of continuations per prompt; with beams, at most the number of beams.",
        Whole(1, MAX_RETURN_SEQUENCES),
        "for more, call again with another seed",
        Option(),
    )
    stop: Sequence[str] = described(
        (),
        "Stop before this string; repeatable.",
        Texts(),
        "omit an empty stop string",
        Option(metavar="TEXT"),
    )
    top_logprobs: int = described(
        0,
        "Report the N most probable tokens at each step (--json, --out).",
        Whole(),
        "pass 0 to disable them",
        Option(metavar="N"),
    )
    surface: Literal["raw", "readable"] = described(
        "raw",
        "Text as the tokenizer decodes it (raw), or with the spaces and capitals of English "
        "(readable).",
        OneOf(("raw", "readable")),
        "readable is for people; ids and log-probabilities refer to raw",
    )
    keep_lower: bool = described(
        False,
        "Add no capitals to readable text.",
        Switch(),
        "False adds capitals",
        Option(),
    )
    eos_token_id: Sequence[int] = described(
        (),
        "Token ids that end the text; ids outside the vocabulary never do.",
        TokenIds(),
        IDS_HINT,
    )
    pad_token_id: int | None = described(
        None,
        "Token id that fills the rows of a batch after the end of their text, or -1, which is no "
        "token; None: no rows.",
        Whole(-1, optional=True),
        "use the tokenizer's pad_token_id",
    )

    do_sample: bool = described(
        True,
        "Sample from the distribution; False always picks the top token, or the top beams.",
        Switch(),
        "pass True to sample, False to pick the top token",
        Option(
            "--greedy", SAMPLING, switches_off="Use greedy decoding: always pick the top token."
        ),
    )
    seed: int = described(
        0,
        "Random seed for sampling.",
        Whole(0, MAX_SEED),
        "choose a seed in that range",
        Option(panel=SAMPLING),
    )
    temperature: float = described(
        1.0,
        "Sampling temperature (> 0); lower is less random.",
        Number(0, above=True),
        "to pick the top token at each step, disable sampling (do_sample=False, --greedy)",
        Option(panel=SAMPLING),
    )
    top_k: int = described(
        0,
        "Sample from the k most probable tokens; 0 disables. Also the candidates for "
        "--penalty-alpha.",
        Whole(),
        "pass 0 to keep every token",
        Option(panel=SAMPLING),
    )
    top_p: float = described(
        1.0,
        "Nucleus sampling: keep the smallest set of top tokens with this cumulative probability; "
        "1 disables.",
        Number(0, 1, above=True),
        _TOP_P_HINT,
        Option(panel=SAMPLING),
    )
    min_p: float = described(
        0.0,
        "Drop tokens below this fraction of the top probability; 0 disables.",
        Number(0, 1),
        "pass 0 to keep every token; 0.05 is a common choice",
        Option(panel=SAMPLING),
    )
    typical_p: float = described(
        1.0,
        "Locally typical sampling with this cumulative probability; 1 disables.",
        Number(0, 1, above=True),
        "pass 1.0 to keep every token; 0.95 is a common choice",
        Option(panel=SAMPLING),
    )
    epsilon_cutoff: float = described(
        0.0,
        "Epsilon sampling: drop tokens below this probability; 0 disables.",
        Number(0, 1, below=True),
        "pass 0 to keep every token; 3e-4 to 9e-4 is common",
        Option(panel=SAMPLING),
    )
    eta_cutoff: float = described(
        0.0,
        "Eta sampling: drop tokens below a probability that falls with the entropy; 0 disables.",
        Number(0, 1, below=True),
        "pass 0 to keep every token; 3e-4 to 4e-3 is common",
        Option(panel=SAMPLING),
    )
