import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from ogpt.errors import ConfigError, StorageError, WeightsError
from ogpt.layout import INDEX_FILE
from ogpt.weights import sharded
from ogpt.weights.arrays import Array
from ogpt.weights.model_weights import write_weights
from ogpt.weights.safetensors_file import open_safetensors, write_arrays
from ogpt.weights.sharded import open_index, size_in_bytes, split, write_shards


def floats(*values: float) -> Array:
    return Array("float32", np.array(values, np.float32))


ARRAYS = {
    "a": floats(1, 2),
    "b": floats(3),
    "c": floats(4, 5, 6, 7, 8),
    "d": Array("bfloat16", np.arange(3, dtype=np.uint16)),
    "e": Array("int64", np.array(9)),
}


def saved(folder: Path) -> Path:
    write_shards(folder, ARRAYS, split(ARRAYS, 12))
    return folder / INDEX_FILE


def reopen(index: Path) -> dict[str, Array]:
    return dict(open_index(index, open_safetensors))


def test_arrays_are_split_in_order() -> None:
    assert split(ARRAYS, 12) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert split(ARRAYS, 1000) == [[*ARRAYS]]
    assert split(ARRAYS, 1) == [[name] for name in ARRAYS]
    assert split({}, 1) == []


def test_what_is_written_is_read(tmp_path: Path) -> None:
    index = saved(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        INDEX_FILE,
        *(f"model-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)),
    }
    assert json.loads(index.read_text())["metadata"] == {"total_size": 46}
    found = open_index(index, open_safetensors)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].data.tolist() == array.data.tolist()


def tiny() -> Any:
    shape = {"vocab_size": 50, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return transformers.OpenAIGPTModel(transformers.OpenAIGPTConfig(**shape))


def test_we_read_what_transformers_writes(tmp_path: Path) -> None:
    model = tiny()
    model.save_pretrained(tmp_path, max_shard_size=8000)
    found = open_index(tmp_path / INDEX_FILE, open_safetensors)
    assert set(found) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert np.array_equal(found[name].data, tensor.numpy())


def test_transformers_reads_what_we_write(tmp_path: Path) -> None:
    model = tiny()
    model.config.save_pretrained(tmp_path)
    arrays = {n: Array("float32", t.numpy()) for n, t in model.state_dict().items()}
    write_shards(tmp_path, arrays, split(arrays, 8000))
    theirs, report = transformers.OpenAIGPTModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    for name, tensor in theirs.state_dict().items():
        assert np.array_equal(tensor.numpy(), arrays[name].data)
    theirs_index = tmp_path / "theirs"
    model.save_pretrained(theirs_index, max_shard_size=8000)  # same files, same places
    index = json.loads((theirs_index / INDEX_FILE).read_text())
    assert index["weight_map"] == json.loads((tmp_path / INDEX_FILE).read_text())["weight_map"]


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = saved(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    written = []

    def fills_up(stream: object, arrays: object) -> int:
        written.append(arrays)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return 0

    monkeypatch.setattr(sharded, "write_stream", fills_up)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_weights(tmp_path, ARRAYS, 12)
    assert "free some space" in caught.value.hint
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert list(reopen(index)) == list(ARRAYS)


def test_an_index_never_names_files_of_two_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the renames, the folder has no index rather than one of mixed shards."""
    saved(tmp_path)
    replace = os.replace
    done = []

    def killed(source: Path, target: Path) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_weights(tmp_path, ARRAYS, 12)
    assert done[0] != tmp_path / INDEX_FILE
    assert not (tmp_path / INDEX_FILE).exists()


def put(folder: Path, weight_map: object) -> Path:
    index = folder / INDEX_FILE
    index.write_text(json.dumps({"weight_map": weight_map}))
    return index


@pytest.mark.parametrize(
    "name",
    [
        *("../x.safetensors", "sub/x.safetensors", "/etc/passwd", "..", ".", "", "a\0b", "C:x"),
        *("..\\x.safetensors", "~/../x", "link", "link-folder/x.safetensors", "loop", "\u202ex"),
    ],
)
def test_files_outside_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        write_arrays(place / "x.safetensors", {"a": floats(1)})
    (folder / "link").symlink_to("../x.safetensors")
    (folder / "link-folder").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    index = put(folder, {"a": name})
    with pytest.raises(WeightsError) as caught:
        open_index(index, open_safetensors)
    if name != "loop":  # that one is inside, and cannot be read
        assert "allowed: files in its own folder" in str(caught.value)
        assert repr(name)[1:-1] in str(caught.value)
        assert "do not load this model" in caught.value.hint


def test_links_of_the_hub_cache_are_followed(tmp_path: Path) -> None:
    """`models--NAME/snapshots/REVISION/FILE` is a link to `models--NAME/blobs/HASH`."""
    snapshot = tmp_path / "models--x" / "snapshots" / "12ab" / "sub"
    blobs = tmp_path / "models--x" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    write_arrays(blobs / "abc", {"a": floats(1)})
    (snapshot / "x.safetensors").symlink_to("../../../blobs/abc")
    assert reopen(put(snapshot, {"a": "x.safetensors"}))["a"].data.tolist() == [1]
    (snapshot / "y.safetensors").symlink_to(tmp_path / "models--y" / "blobs" / "abc")
    with pytest.raises(WeightsError, match=r"allowed: files in its own folder"):
        reopen(put(snapshot, {"a": "y.safetensors"}))


def test_a_folder_that_is_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    saved(tmp_path / "model")
    (tmp_path / "link").symlink_to("model")
    assert list(reopen(tmp_path / "link" / INDEX_FILE)) == list(ARRAYS)


@pytest.mark.parametrize("content", [[], {}, {"weight_map": []}, {"weight_map": {"a": 1}}, None])
def test_no_weight_map(content: object, tmp_path: Path) -> None:
    index = tmp_path / INDEX_FILE
    index.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match="damaged: its weight_map is") as caught:
        reopen(index)
    assert "restore" in caught.value.hint


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    index = saved(tmp_path)
    (tmp_path / "model-00003-of-00004.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model-00003-of-00004\.safetensors") as caught:
        reopen(index)
    assert "check the path" in caught.value.hint


def test_index_and_shards_that_disagree(tmp_path: Path) -> None:
    index = saved(tmp_path)
    good = json.loads(index.read_text())["weight_map"]
    put(tmp_path, {**good, "f": good["a"]})
    with pytest.raises(WeightsError, match="'f' is not in model-00001-of-00004") as caught:
        reopen(index)
    assert "same copy" in caught.value.hint
    put(tmp_path, {name: file for name, file in good.items() if name != "b"})
    with pytest.raises(WeightsError, match=r"model-00001-of-00004.safetensors has \['b'\]"):
        reopen(index)


def test_mutated_indexes_never_surprise(tmp_path: Path) -> None:
    index = saved(tmp_path)
    whole = index.read_bytes()
    dice = random.Random(4)
    for _ in range(400):
        mutated = bytearray(whole)
        for _ in range(dice.choice([1, 1, 2, 5])):
            place = dice.randrange(len(mutated))
            mutated[place] = dice.choice([dice.randrange(256), *b'0123456789{}[]",:./\\'])
        index.write_bytes(mutated[: dice.choice([None, None, len(whole) // 2])])
        try:
            found = reopen(index)
        except WeightsError:
            continue
        assert list(found) == list(ARRAYS)


@pytest.mark.parametrize(
    ("given", "size"),
    [(7, 7), ("5GB", 5 * 10**9), ("2 MiB", 2**21), ("1.5kb", 1500), ("10TB", 10**13)],
)
def test_sizes(given: int | str, size: int) -> None:
    assert size_in_bytes(given) == size


@pytest.mark.parametrize("given", [0, -1, "", "5", "GB", "-5GB", "5 bytes", "0KB", 1.5, None])
def test_no_sizes(given: Any) -> None:
    with pytest.raises(ConfigError, match=f"{given!r}; allowed: bytes") as caught:
        size_in_bytes(given)
    assert "max_shard_size" in caught.value.hint
