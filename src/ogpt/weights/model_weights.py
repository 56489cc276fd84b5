"""The weights of a model folder, in whichever file they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ogpt.config.model import CONFIG_FILE, OpenAIGPTConfig
from ogpt.errors import ConfigError, WeightsError
from ogpt.notices import tell
from ogpt.weights.arrays import Array
from ogpt.weights.h5_file import H5_FILE, open_h5
from ogpt.weights.openai_files import SHAPES_FILE, open_openai, openai_sizes
from ogpt.weights.quantised import refuse_quantised
from ogpt.weights.safetensors_file import WEIGHTS_FILE, open_safetensors, write_arrays
from ogpt.weights.sharded import INDEX_FILE, SHARDS, open_index, split, write_shards
from ogpt.weights.together import remove_stale
from ogpt.weights.torch_file import WEIGHTS_FILE as BIN_FILE
from ogpt.weights.torch_file import open_bin

OPENAI_HEAD_DIM = 64
"""Channels of one of OpenAI's attention heads: the files do not tell their number (paper, 4.1)."""

_READERS: dict[str, Callable[[Path], Mapping[str, Array]]] = {  # in the order of preference
    WEIGHTS_FILE: open_safetensors,
    INDEX_FILE: lambda index: open_index(index, open_safetensors),
    BIN_FILE: open_bin,
    f"{BIN_FILE}.index.json": lambda index: open_index(index, open_bin),
    H5_FILE: open_h5,
    SHAPES_FILE: lambda shapes: open_openai(shapes.parent),
}


def weights_file(folder: Path) -> Path:
    """The file, or the index of several, that holds the folder's weights.

    Where there are more, the first of: safetensors, sharded safetensors, pytorch_model.bin, sharded
    .bin, tf_model.h5, OpenAI's params_shapes.json.

    Raises:
        WeightsError: there is none.
    """
    for name in _READERS:
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(
        f"there are no weights in {folder}; looked for {', '.join(_READERS)}",
        hint="give the folder that holds one of these files",
    )


def require_heads(config: OpenAIGPTConfig, n_head: int | None) -> None:
    """Check that a number of heads, where one is given, is that of the configuration.

    Raises:
        ConfigError: it is another one.
    """
    if n_head not in (None, config.n_head):
        raise ConfigError(
            f"n_head is {n_head}; the configuration says {config.n_head}",
            hint="leave n_head out: it is for OpenAI's files, which have no config.json",
        )


def folder_config(folder: Path, n_head: int | None = None) -> OpenAIGPTConfig:
    """The configuration of a model folder: its config.json, or what OpenAI's files tell by shape.

    Args:
        folder: The model folder.
        n_head: Attention heads of OpenAI's files, which do not tell; None: n_embd / 64, with the
            notice `heads-assumed`.

    Raises:
        CheckpointError: no config.json, nor OpenAI's files; or it is damaged.
        ConfigError: a value outside its range, or an n_head other than that of config.json.
        WeightsError: OpenAI's params_shapes.json is damaged.
    """
    if (folder / CONFIG_FILE).exists() or not (folder / SHAPES_FILE).exists():
        config = OpenAIGPTConfig.from_pretrained(folder)
        require_heads(config, n_head)
        return config
    sizes = openai_sizes(folder)
    if n_head is None:
        n_head = max(1, sizes.n_embd // OPENAI_HEAD_DIM)
        tell("heads-assumed", n_head=n_head, n_embd=sizes.n_embd)
    return OpenAIGPTConfig(**sizes._asdict(), n_head=n_head)


def open_weights(folder: Path) -> Mapping[str, Array]:
    """Open the folder's weights; each array is read when it is asked for, into its own memory.

    Raises:
        WeightsError: there are none, or they are damaged or quantised.
        BackendMissing: they are in tf_model.h5, and h5py is not installed.
    """
    file = weights_file(folder)
    arrays = _READERS[file.name](file)
    refuse_quantised(folder, arrays)
    return arrays


def written_weights(folder: Path) -> set[Path]:
    """The files in a folder that `write_weights` may have written."""
    candidates = {folder / WEIGHTS_FILE, folder / INDEX_FILE, *folder.glob(SHARDS)}
    return {file for file in candidates if file.exists()}


def write_weights(folder: Path, arrays: Mapping[str, Array], max_shard_size: int) -> None:
    """Write model.safetensors, or shards and their index; what an earlier save left is removed.

    Args:
        folder: Exists. Until the new files are in place, its old weights can be read.
        arrays: Read twice or three times, array by array, where they are lazy.
        max_shard_size: Bytes of a file, 1 or more; one that would be larger is split.

    Raises:
        StorageError: the disk is full or refuses.
    """
    shards = split(arrays, max_shard_size)
    stale = written_weights(folder)
    if len(shards) <= 1:
        write_arrays(folder / WEIGHTS_FILE, arrays)
        remove_stale(sorted(stale - {folder / WEIGHTS_FILE}))
    else:
        files = write_shards(folder, arrays, shards)
        remove_stale(sorted(stale - {folder / INDEX_FILE, *files}))
