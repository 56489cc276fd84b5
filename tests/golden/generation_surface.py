"""Public names and arguments of transformers' generation configurations, and those of generate().

A copy of it in an environment with transformers 4.57.6 wrote generation_surface_4.57.6.json:

    python -m tests.golden.generation_surface OUT.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.golden.tokenizer_surface import Surface, arguments, surface

CLASSES = ("GenerationConfig", "WatermarkingConfig", "SynthIDTextWatermarkingConfig")


def of_transformers() -> dict[str, Surface]:
    """The surface of the installed version."""
    import transformers

    found = {name: surface([getattr(transformers, name)]) for name in CLASSES}
    values = transformers.GenerationConfig().to_dict()
    found["GenerationConfig"] |= {name: None for name in values if not name.startswith("_")}
    generate = arguments(transformers.GenerationMixin.generate)
    return {**found, "generate": {"generate": [generate or []]}}


if __name__ == "__main__":
    text = json.dumps(of_transformers(), indent=1, sort_keys=True)
    Path(sys.argv[1]).write_text(text + "\n", "utf-8")
