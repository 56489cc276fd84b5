"""How a model is run to decode: which decoder, at which precision, on how many threads."""

from __future__ import annotations

from dataclasses import dataclass

from ogpt.config.described import Option, described, keep_fields, with_field_docs
from ogpt.config.ranges import OneOf, Switch, Whole
from ogpt.errors import ConfigError
from ogpt.processor import MOST_THREADS

BATCH_SIZE = 16
"""Texts per batch. Each holds a KV cache; further texts wait for a free slot."""
BATCH_SIZE_HELP = "Number of texts per batch; each holds a KV cache."

DECODERS = ("auto", "native", "torch", "tensorflow")
DTYPES = ("auto", "float32", "bfloat16", "int8", "int4")
CACHE_DTYPES = ("float32", "bfloat16")

RUNNING = "Running"
"""Heading of these options in `--help`."""

CACHE_OF_TORCH = "the torch decoder stores the KV cache in the dtype of its weights"
_FRAMEWORKS = ("torch", "tensorflow")
_ONE_OF_THESE = "choose one of these"


@with_field_docs
@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderOptions:
    """Which decoder runs a model, at which precision and on how many threads.

    The decoder `auto` is torch on a GPU, otherwise native; it is torch, with a notice, if native is
    not built or cannot run the model. The dtype `auto` is that of the file, except bfloat16 for
    torch on a GPU, and float32 for native if the file has float16. int8 and int4 run natively,
    int8 with torch on a GPU too. A quantized folder has one dtype.

    The native decoder always gives the same tokens and log-probabilities, alone or in any batch.
    With `deterministic`, torch does so too: it runs every token at one fixed shape, which is
    slower. The decoder tensorflow does not.

    >>> from ogpt import DecoderOptions
    >>> DecoderOptions(decoder="native", threads=2).dtype
    'auto'

    Raises:
        ConfigError: a value outside its range, or one that the decoder does not have.
    """

    decoder: str = described(
        "auto",
        "Decoder: native (C++, on the CPU), torch, tensorflow, or auto (torch on a GPU, else "
        "native).",
        OneOf(DECODERS),
        _ONE_OF_THESE,
        Option(panel=RUNNING),
    )
    dtype: str = described(
        "auto",
        "Weight dtype: auto (as stored), float32, bfloat16, int8 or int4.",
        OneOf(DTYPES),
        _ONE_OF_THESE,
        Option(panel=RUNNING),
    )
    threads: int = described(
        0,
        "Number of CPU threads; 0 uses all cores.",
        Whole(0, MOST_THREADS),
        "omit it to use all cores",
        Option(panel=RUNNING),
    )
    cache_dtype: str = described(
        "float32",
        "KV cache dtype of the native decoder: float32 or bfloat16.",
        OneOf(CACHE_DTYPES),
        _ONE_OF_THESE,
        Option(panel=RUNNING),
    )
    deterministic: bool = described(
        False,
        "Give bit-identical results at any batch size; slower on a GPU. Always on for native.",
        Switch(),
        "True or False",
        Option(panel=RUNNING),
    )

    def __post_init__(self) -> None:
        keep_fields(self, ConfigError)
        if self.decoder in _FRAMEWORKS and self.cache_dtype != "float32":
            of_its = CACHE_OF_TORCH.replace("torch", self.decoder)
            raise ConfigError(
                f"cache_dtype is {self.cache_dtype!r}; {of_its}",
                hint="use --decoder native, or pass --dtype bfloat16 alone",
            )
        if self.decoder == "tensorflow" and self.deterministic:
            raise ConfigError(
                "deterministic is True; allowed with the tensorflow decoder: False",
                hint="use --decoder native, which always gives the same results",
            )
