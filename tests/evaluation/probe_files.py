"""Made-up files of the five sets of the zero-shot probes, in words of the letters a to h."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.tasks.official_files import Files, table, write_files

ROWS = 6


def words(seed: int, count: int) -> str:
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("abcdefgh", k=3)) for _ in range(count))


def _passage(seed: int) -> str:
    options = [[words(seed + n, n + 1) for n in range(4)]] * (ROWS // 2)
    asked = [words(seed + 9, 3)] * len(options)
    answers = list("ABCD"[: len(options)])
    passage = {"article": words(seed, 20), "questions": asked, "options": options, "id": "x"}
    return json.dumps(passage | {"answers": answers})


def _case(seed: int) -> str:
    right = ("The bad", "the cab")[seed % 2]
    return f"{words(seed, 4)} because he was {words(seed + 1, 2)}.\nhe\nThe bad,the cab\n{right}\n"


def _schema(seed: int) -> str:
    return (
        f"<schema><text><txt1>{words(seed, 3)}</txt1><pron>he</pron><txt2>{words(seed, 2)}.</txt2>"
        "</text><answers><answer>The bad</answer><answer>The cab</answer></answers>"
        f"<correctAnswer>{'AB'[seed % 2]}.</correctAnswer></schema>"
    )


FILES: dict[str, Files] = {
    "cola": {"CoLA/dev.tsv": table(*(f"x|{n % 2}||{words(n, 4 + n)}." for n in range(ROWS)))},
    "sst2": {
        "SST-2/dev.tsv": table("sentence|label", *(f"{words(n, 3)}|{n % 2}" for n in range(ROWS)))
    },
    "race": {f"RACE/dev/{level}/1.txt": _passage(n) for n, level in enumerate(("middle", "high"))},
    "dprd": {"test.c.txt": "\n".join(map(_case, range(ROWS)))},
    "winograd": {"WSCollection.xml": f"<c>{''.join(map(_schema, range(ROWS)))}</c>"},
}
"""The files of each set, with ROWS rows in all."""


def write_probes(folder: Path, *names: str) -> Path:
    """Write the files of these sets, or of all."""
    for name in names or FILES:
        write_files(folder, FILES[name])
    return folder
