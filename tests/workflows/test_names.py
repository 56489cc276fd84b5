"""A keyword that a function does not have is an error of ours, with the near name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ogpt
from ogpt.errors import UnknownArgument

FINETUNE: dict[str, Any] = {"model": "folder", "out": "out"}
CALLS: dict[str, tuple[tuple[str, ...], dict[str, Any], str, str]] = {
    "evaluate": (("folder",), {}, "optoins", "options"),
    "evaluate_probes": (("folder", "probes"), {}, "probe_row", "probe_rows"),
    "finetune": ((), FINETUNE, "overides", "overrides"),
    "finetune_plan": ((), FINETUNE, "families", "family"),
    "finetune_sweep": ((), FINETUNE, "seed", "seeds"),
    "generate": (("folder", "a"), {}, "max_tokens", "max_new_tokens"),
    "generate_file": (("folder", "rows.jsonl"), {"out": "out"}, "batchsize", "batch_size"),
    "plan": ((), {"out": "out"}, "overides", "overrides"),
    "reproduce": (("table-2",), {"out": "out"}, "overides", "overrides"),
    "reproduce_plan": (("table-2",), {"out": "out"}, "seed", "seeds"),
    "score": (("folder", "a"), {}, "choises", "choices"),
}


@pytest.mark.parametrize("function", CALLS)
def test_a_misspelled_keyword(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, named, wrong, right = CALLS[function]
    with pytest.raises(UnknownArgument) as caught:
        getattr(ogpt, function)(*arguments, **named, **{wrong: "x"})
    assert str(caught.value).startswith(f"{function} has no argument {wrong}; allowed: ")
    assert caught.value.hint == f"did you mean {right}?"
    assert list(tmp_path.iterdir()) == []
