"""The systems in the native decoding benchmark, and what each needs to run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import environments

OURS = "ogpt"
WITHOUT_CACHE = "transformers OpenAIGPT"
"""Processes the whole text again for each token, so it gets a shorter task."""


@dataclass(frozen=True)
class Entrant:
    """One system at one precision."""

    system: str
    precision: str
    """Weight precision: float32, bfloat16, int8 or int4."""
    module: str
    variant: str
    """Argument of the module."""
    environment: str | None = None
    """One of `environments.PEERS`; None is the project's own environment."""
    label: str = ""
    """Shown instead of the precision."""

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.system} {self.label or self.precision}"

    @property
    def is_ours(self) -> bool:
        """Whether this is ogpt, not a baseline."""
        return self.system == OURS

    @property
    def half_cache(self) -> bool:
        """Whether this is ogpt with a KV cache in bfloat16."""
        return self.is_ours and " " in self.variant

    @property
    def is_set_up(self) -> bool:
        """Whether its environment is installed."""
        return self.environment is None or environments.is_set_up(self.environment)

    @property
    def python(self) -> Path:
        """Python interpreter of its environment."""
        if self.environment is None:
            return Path(sys.executable)
        return environments.python(self.environment)


def _all() -> list[Entrant]:
    found = [
        Entrant(OURS, precision, "benchmarks.native_contender", precision)
        for precision in ("float32", "bfloat16", "int8", "int4")
    ]
    found += [
        Entrant(
            OURS,
            precision,
            "benchmarks.native_contender",
            f"{precision} bfloat16",
            label=f"{precision} (bf16 cache)",
        )
        for precision in ("bfloat16", "int8", "int4")
    ]
    found += [
        Entrant("OpenVINO", precision, "benchmarks.peers.openvino_peer", precision, "openvino")
        for precision in ("float32", "bfloat16", "int8", "int4")
    ]
    found += [
        Entrant(
            "llama.cpp", precision, "benchmarks.peers.llama_cpp_peer", variant, "llama_cpp", variant
        )
        for precision, variant in (
            ("float32", "f32"),
            ("bfloat16", "bf16"),
            ("int8", "q8_0"),
            ("int4", "q4_0"),
        )
    ]
    found += [
        Entrant(
            "CTranslate2", precision, "benchmarks.peers.ctranslate2_peer", precision, "ctranslate2"
        )
        for precision in ("float32", "int8")
    ]
    for system, maker in (
        ("plain PyTorch", "plain"),
        ("transformers GPT2", "gpt2"),
        (WITHOUT_CACHE, "openai-gpt"),
    ):
        found += [
            Entrant(system, precision, "benchmarks.peers.torch_peers", f"{maker} {precision}")
            for precision in ("float32", "bfloat16")
        ]
    return found


ENTRANTS = _all()
