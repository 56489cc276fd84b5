"""From ids to logits: the files that a newcomer reads, and no others, run in a forward pass."""

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import ogpt
import ogpt.model
from tests.model.small import draw_ids, small

PACKAGE = Path(ogpt.__file__).parent
WALK = {
    "model/heads.py",
    "model/inputs.py",
    "model/transformer.py",
    "model/attention.py",
    "model/dropout.py",
    "model/outputs.py",
}
"""docs/how-it-works.md"""
DATA = {  # a property of the configuration, what outputs are, and whether values can be read
    "config/model.py",
    "config/model_output.py",
    "model/tensors.py",
}


def files_of(call: Any) -> set[str]:
    """The package's files whose functions run in a call."""
    found = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(PACKAGE):
            found.add(file.relative_to(PACKAGE).as_posix())

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("training", [False, True])
def test_ids_to_logits_in_six_files(training: bool) -> None:
    model, ids = small().train(training), draw_ids(2, 5)
    outputs: list[Any] = []
    found = files_of(lambda: outputs.append(model(ids)))
    home = sys.modules[type(outputs[0]).__module__].__file__  # a dataclass's __init__ has no file
    assert home is not None
    assert found - DATA | {Path(home).relative_to(PACKAGE).as_posix()} == WALK


def test_the_reading_order_names_every_file() -> None:
    named = re.findall(r"^    (\w+\.py) ", ogpt.model.__doc__ or "", re.MULTILINE)
    files = {file.name for file in (PACKAGE / "model").glob("*.py")} - {"__init__.py"}
    assert sorted(named) == sorted(files)
    assert set(named[:6]) == {Path(file).name for file in WALK}
