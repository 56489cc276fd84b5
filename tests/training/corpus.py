"""Text of random words, the same each time."""

import json
import random
from pathlib import Path


def write_text(file: Path) -> None:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefgh", k=draw.randint(1, 6))) for _ in range(200)]
    paragraphs = [" ".join(draw.choices(words, k=60)) + "." for _ in range(120)]
    rows = (json.dumps({"text": paragraph}) for paragraph in paragraphs)
    file.write_text("\n".join(rows) + "\n", "utf-8")
