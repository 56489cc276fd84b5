"""Watermarks of generated text, by the names of transformers: what is asked for.

`watermarks` computes them. transformers' detectors find them, and those of its texts are equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from ogpt.config.ranges import Number, OneOf, Range, Switch, TokenIds, Whole
from ogpt.errors import SamplingError
from ogpt.storage import write_json


class BaseWatermarkingConfig:
    """What the two kinds of watermark share: checks, and their way to JSON."""

    _RANGES: ClassVar[dict[str, Range]] = {}

    def __post_init__(self) -> None:
        self.validate()

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Self:
        """A configuration from its fields by name; those in `kwargs` have priority.

        Raises:
            SamplingError: the name of no field, or a value outside its range.
        """
        given = {**config_dict, **kwargs}
        known = [item.name for item in fields(cls)]  # type: ignore[arg-type]  # a dataclass
        for name in given:
            if name not in known:
                raise SamplingError(
                    f"watermarking_config has no field {name}; allowed: {', '.join(known)}",
                    hint="omit it",
                )
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # a dataclass

    def to_json_string(self) -> str:
        """The fields as a JSON object."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def to_json_file(self, json_file_path: str | Path) -> None:
        """Write the fields as a JSON object."""
        write_json(Path(json_file_path), self.to_dict())

    def update(self, **kwargs: Any) -> None:
        """Change fields by name; other names are ignored, as in transformers.

        Raises:
            SamplingError: a value outside its range.
        """
        for name, value in kwargs.items():
            if name in self.to_dict():
                setattr(self, name, value)
        self.validate()

    def validate(self) -> None:
        """Check all fields.

        Raises:
            SamplingError: a value outside its range.
        """
        for name, allowed in self._RANGES.items():
            value = getattr(self, name)
            try:
                kept = allowed.keep(value)
            except ValueError:
                raise SamplingError(
                    f"{name} of watermarking_config is {value!r}; allowed: {allowed}",
                    hint="omit it for the default",
                ) from None
            setattr(self, name, list(kept) if isinstance(kept, tuple) else kept)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self.to_dict().items())


@dataclass
class WatermarkingConfig(BaseWatermarkingConfig):
    """A watermark by lists of favoured tokens that follow from the tokens before.

    >>> import ogpt
    >>> ogpt.WatermarkingConfig(bias=1.5).to_dict()["greenlist_ratio"]
    0.25

    Args:
        greenlist_ratio: Share of the vocabulary that is favoured at each step, 0 to 1.
        bias: What is added to the logits of these tokens.
        hashing_key: Keys the lists; keep your own secret.
        seeding_scheme: "lefthash": the list follows from the last token (algorithm 2 of the
            paper); "selfhash": from the last tokens and the candidate itself (algorithm 3), which
            is slower.
        context_width: Number of tokens from which the list follows, the candidate included, with
            "selfhash"; 1 or more.

    Raises:
        SamplingError: a value outside its range.

    Source: Kirchenbauer et al. 2023, "On the reliability of watermarks" (arXiv 2306.04634).
    """

    greenlist_ratio: float = 0.25
    bias: float = 2.0
    hashing_key: int = 15_485_863
    seeding_scheme: Literal["lefthash", "selfhash"] = "lefthash"
    context_width: int = 1

    _RANGES: ClassVar[dict[str, Range]] = {
        "greenlist_ratio": Number(0, 1),
        "bias": Number(-100, 100),
        "hashing_key": Whole(1, 2**31 - 1),
        "seeding_scheme": OneOf(("lefthash", "selfhash")),
        "context_width": Whole(1),
    }


@dataclass
class SynthIDTextWatermarkingConfig(BaseWatermarkingConfig):
    """A watermark that keeps the distribution of tokens: a tournament over hashes of n-grams.

    >>> import ogpt
    >>> ogpt.SynthIDTextWatermarkingConfig(ngram_len=5, keys=[654, 400]).sampling_table_size
    65536

    Args:
        ngram_len: Tokens of an n-gram, of which the last is the candidate; 1 or more.
        keys: One for each round of the tournament; keep your own secret.
        context_history_size: The last contexts that are not marked twice.
        sampling_table_seed: Seed of the table of the tournament's values.
        sampling_table_size: Entries of that table, 1 to 2**24.
        skip_first_ngram_calls: Do not mark the first ngram_len - 1 new tokens.
        debug_mode: Mark a uniform distribution in place of the model's.

    Raises:
        SamplingError: a value outside its range.

    Source: Dathathri et al. 2024, "Scalable watermarking for identifying large language model
        outputs" (Nature 634, 818).
    """

    ngram_len: int
    keys: list[int]
    context_history_size: int = 1024
    sampling_table_seed: int = 0
    sampling_table_size: int = 2**16
    skip_first_ngram_calls: bool = False
    debug_mode: bool = False

    _RANGES: ClassVar[dict[str, Range]] = {
        "ngram_len": Whole(1),
        "keys": TokenIds(),
        "context_history_size": Whole(1),
        "sampling_table_seed": Whole(0, 2**32 - 1),
        "sampling_table_size": Whole(1, 2**24),
        "skip_first_ngram_calls": Switch(),
        "debug_mode": Switch(),
    }


Watermark = WatermarkingConfig | SynthIDTextWatermarkingConfig


class Watermarks:
    """A watermark, also as a dict or as an object of transformers, or None."""

    def keep(self, value: Any) -> Watermark | None:
        """The watermark as an object of ours."""
        if value is None or isinstance(value, WatermarkingConfig | SynthIDTextWatermarkingConfig):
            return value
        values = value.to_dict() if hasattr(value, "to_dict") else value
        if not isinstance(values, Mapping):
            raise ValueError(f"{value!r}; allowed: {self}")
        synth = "ngram_len" in values and "keys" in values
        return (SynthIDTextWatermarkingConfig if synth else WatermarkingConfig).from_dict(values)

    def __str__(self) -> str:
        return "a WatermarkingConfig or SynthIDTextWatermarkingConfig, or a dict of its fields"
