"""Open and write the weights of a model folder, in any format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ogpt.config.lstm_config import read_config
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, WeightsNotFound
from ogpt.layout import (
    BIN_FILE,
    BIN_INDEX_FILE,
    CONFIG_FILE,
    H5_FILE,
    INDEX_FILE,
    SHAPES_FILE,
    WEIGHTS_FILE,
    weights_files,
    with_variant,
)
from ogpt.notices import tell
from ogpt.storage import whole_files
from ogpt.weights.arrays import Array
from ogpt.weights.h5_file import open_h5
from ogpt.weights.openai_files import open_openai, openai_sizes
from ogpt.weights.quantized import refuse_quantized
from ogpt.weights.safetensors_file import open_safetensors, write_arrays
from ogpt.weights.sharded import SHARDS, open_index, split, write_shards
from ogpt.weights.torch_file import open_bin
from ogpt.weights.wrappers import unwrapped

OPENAI_HEAD_DIM = 64
"""Channels per attention head of OpenAI's model: 768 / 12 (paper, section 4.1). Their files do not
store the number of heads."""

_READERS: dict[str, Callable[[Path], Mapping[str, Array]]] = {
    WEIGHTS_FILE: open_safetensors,
    INDEX_FILE: lambda index: open_index(index, open_safetensors),
    BIN_FILE: open_bin,
    BIN_INDEX_FILE: lambda index: open_index(index, open_bin),
    H5_FILE: open_h5,
    SHAPES_FILE: lambda shapes: open_openai(shapes.parent),
}


def weights_file(folder: Path, variant: str | None = None) -> Path:
    """Find the weights file of a folder, or the index of its shards.

    If there are several, the order of preference is: safetensors, sharded safetensors,
    pytorch_model.bin, sharded .bin, tf_model.h5, OpenAI's params_shapes.json.

    Args:
        folder: The model folder.
        variant: Of the file names, such as fp16; None: the plain names.

    Raises:
        WeightsNotFound: there is none.
        ConfigError: a variant that is no part of a file name.
    """
    names = [file.name for file in folder.glob("*") if file.is_file()]
    found = weights_files(names, variant).files
    if found:
        return folder / found[0]
    raise WeightsNotFound(
        f"there are no weights in {folder}; looked for "
        + ", ".join(with_variant(name, variant) for name in _READERS),
        hint="pass a folder that contains one of these files, and its variant if it has one",
    )


def require_heads(config: OpenAIGPTConfig, n_head: int | None) -> None:
    """Check that n_head, if it is not None, is that of the configuration.

    Raises:
        ConfigError: it differs.
    """
    if n_head not in (None, config.n_head):
        raise ConfigError(
            f"n_head is {n_head}; the configuration says {config.n_head}",
            hint="omit n_head: it is for OpenAI's files, which have no config.json",
        )


def folder_config(folder: Path, n_head: int | None = None) -> OpenAIGPTConfig:
    """Read the configuration of a model folder: config.json, or the shapes of OpenAI's files.

    Args:
        folder: The model folder.
        n_head: Number of attention heads of OpenAI's files, which do not store it; None assumes
            n_embd / 64, with the notice `heads-assumed`.

    Raises:
        CheckpointError: there is neither config.json nor OpenAI's files, or config.json is damaged.
        ConfigError: a value outside its range, or an n_head other than that of config.json.
        WeightsError: OpenAI's params_shapes.json is damaged.
    """
    if (folder / CONFIG_FILE).exists() or not (folder / SHAPES_FILE).exists():
        config = read_config(folder)
        require_heads(config, n_head)
        return config
    sizes = openai_sizes(folder)
    if n_head is None:
        n_head = max(1, sizes.n_embd // OPENAI_HEAD_DIM)
        tell("heads-assumed", n_head=n_head, n_embd=sizes.n_embd)
    return OpenAIGPTConfig(**sizes._asdict(), n_head=n_head)


def open_weights(folder: Path, variant: str | None = None) -> Mapping[str, Array]:
    """Open the weights of a folder; each access reads one array into new memory.

    Prefixes of torch.compile and DistributedDataParallel (`_orig_mod.`, `module.`) are removed.

    Args:
        folder: The model folder.
        variant: As in weights_file.

    Raises:
        WeightsError: there are none, or they are damaged or quantized.
        BackendMissing: they are in tf_model.h5, and h5py is not installed.
    """
    file = weights_file(folder, variant)
    arrays = {with_variant(name, variant): read for name, read in _READERS.items()}[file.name](file)
    refuse_quantized(folder, arrays)
    return unwrapped(arrays)


def written_weights(folder: Path, variant: str | None = None) -> set[Path]:
    """Find the files in a folder that `write_weights` may have written in this variant."""
    named = (with_variant(name, variant) for name in (WEIGHTS_FILE, INDEX_FILE))
    shards = folder.glob(with_variant(SHARDS, variant))
    return {file for file in (*(folder / name for name in named), *shards) if file.exists()}


def write_weights(
    folder: Path, arrays: Mapping[str, Array], max_shard_size: int, variant: str | None = None
) -> None:
    """Write model.safetensors, or shards and their index, and remove files of an earlier save.

    Args:
        folder: An existing folder. Its old weights stay readable until the new files are in place.
        arrays: The weights. A lazy mapping is read array by array, two or three times.
        max_shard_size: Maximum bytes per file, 1 or more; larger weights are split into shards.
        variant: Of the file names; files of other variants stay.

    Raises:
        StorageError: the write fails.
        ConfigError: a variant that is no part of a file name.
    """
    shards = split(arrays, max_shard_size)
    stale, last = partial(written_weights, variant=variant), with_variant(INDEX_FILE, variant)
    with whole_files(folder, stale, last) as new:
        if len(shards) <= 1:
            write_arrays(new / with_variant(WEIGHTS_FILE, variant), arrays)
        else:
            write_shards(new, arrays, shards, variant)
