"""tf_model.h5 as transformers 4 wrote it: our reader reads it back, and the layout is theirs."""

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ogpt.errors import BackendMissing, ConfigError
from ogpt.layout import H5_FILE
from ogpt.notices import collecting
from ogpt.weights.arrays import Array
from ogpt.weights.h5_file import open_h5
from ogpt.weights.h5_writer import write_h5

GOLDEN = Path(__file__).parents[1] / "golden" / "transformers_4.57.6" / "tf"
FOLDERS = {
    "base": "OpenAIGPTModel",
    "lm": "OpenAIGPTLMHeadModel",
    "double_heads": "OpenAIGPTDoubleHeadsModel",
    "sequence_classification": "OpenAIGPTForSequenceClassification",
}


def layout(file: Path) -> dict[str, Any]:
    """Every group and dataset, with attributes, shapes and numbers."""
    found: dict[str, Any] = {}

    def visit(path: str, item: Any) -> None:
        attributes = {name: [*value] for name, value in item.attrs.items()}
        found[path] = item[()].tolist() if isinstance(item, h5py.Dataset) else attributes

    with h5py.File(file) as root:
        found["/"] = {name: np.asarray(value).tolist() for name, value in root.attrs.items()}
        root.visititems(visit)
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_layout_is_that_of_transformers(folder: str, tmp_path: Path) -> None:
    theirs = GOLDEN / folder / H5_FILE
    arrays = open_h5(theirs)
    write_h5(tmp_path / H5_FILE, arrays, FOLDERS[folder])
    ours, expected = layout(tmp_path / H5_FILE), layout(theirs)
    for found in (ours, expected):  # the order of a layer's weights means nothing by name
        for item in found.values():
            if isinstance(item, dict) and "weight_names" in item:
                item["weight_names"] = sorted(item["weight_names"])
    assert ours == expected
    again = open_h5(tmp_path / H5_FILE)
    assert set(again) == set(arrays)
    assert all(np.array_equal(again[name].data, arrays[name].data) for name in arrays)


def test_what_the_format_cannot_hold(tmp_path: Path) -> None:
    bits = np.array([[0x3F80, 0x4000]], np.uint16)  # 1 and 2 in bfloat16
    arrays = {"transformer.tokens_embed.weight": Array("bfloat16", bits)}
    arrays["lm_head.weight"] = Array("float32", np.ones((2, 2), np.float32))
    with collecting() as notices:
        write_h5(tmp_path / H5_FILE, arrays, "OpenAIGPTLMHeadModel")
    assert [notice.kind for notice in notices] == ["weights-left-out"]
    assert notices[0].fields["names"] == "lm_head.weight"
    found = open_h5(tmp_path / H5_FILE)
    assert {name: found[name].data.tolist() for name in found} == {
        "transformer.tokens_embed.weight": [[1.0, 2.0]]
    }


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(BackendMissing, match="needs h5py") as caught:
        write_h5(tmp_path / H5_FILE, {}, "OpenAIGPTModel")
    assert "ogpt[h5]" in caught.value.hint
    assert not [*tmp_path.iterdir()]


def test_an_architecture_that_transformers_has_not(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="the architecture is 'Mine'; allowed: OpenAIGPTModel, "
    ) as caught:
        write_h5(tmp_path / H5_FILE, {}, "Mine")
    assert "safetensors" in caught.value.hint
    assert not [*tmp_path.iterdir()]
