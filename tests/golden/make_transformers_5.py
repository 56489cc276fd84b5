"""Makes the golden files of tests/golden/transformers_5.23.0 by running transformers 5.23.0.

    pip install torch==2.13.0 transformers==5.23.0
    python tests/golden/make_transformers_5.py tests/golden/transformers_5.23.0

One folder: a double-heads model as version 5 saves it, with `lm_head.weight` standing for a
`tokens_embed.weight` that the file leaves out. The weights follow the formula of the other script.
"""

import argparse
from pathlib import Path

from make_transformers_4_57 import TINY, filled
from safetensors import safe_open


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder / "double_heads"
    filled("OpenAIGPTDoubleHeadsModel", TINY).save_pretrained(folder)
    with safe_open(folder / "model.safetensors", "np") as file:
        names = set(file.keys())
    if "lm_head.weight" not in names or "transformer.tokens_embed.weight" in names:
        parser.error(f"this version writes other names: {sorted(names)}")


if __name__ == "__main__":
    main()
