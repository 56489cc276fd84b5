"""Read and write weights in shards: several files, and the index of which array is where."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ogpt.errors import ConfigError, WeightsError
from ogpt.layout import INDEX_FILE, with_variant
from ogpt.reading import shown
from ogpt.weights.arrays import Array, LazyArrays, stored
from ogpt.weights.opened import damaged, read_json
from ogpt.weights.safetensors_file import write_stream

SHARDS = f"model-{5 * '[0-9]'}-of-{5 * '[0-9]'}.safetensors"
"""Glob pattern of the files that `write_shards` writes."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]i?B)", re.IGNORECASE)
_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_OUTSIDE = ("", ".", "..")


def open_index(
    index: Path, open_shard: Callable[[Path], Mapping[str, Array]]
) -> Mapping[str, Array]:
    """Open the shards of an index such as `model.safetensors.index.json`.

    Args:
        index: The index; the shards are in the same folder.
        open_shard: Opens one shard.

    Raises:
        WeightsError: the index or a shard is missing or damaged, they do not match, or the index
            names a file outside its folder.
    """
    where = _weight_map(index)
    shards = {name: open_shard(_inside(index, name)) for name in sorted(set(where.values()))}
    homes = {name: (shards[file], name) for name, file in where.items()}
    for name, (shard, _) in homes.items():
        if name not in shard:
            raise _disagree(
                index, f"{shown(name)} is not in {where[name]}, although the index says so"
            )
    for file, shard in shards.items():
        extra = sorted(name for name in shard if where.get(name) != file)
        if extra:
            raise _disagree(index, f"{file} has {shown(extra)}, which the index places elsewhere")
    return LazyArrays(homes, lambda home: home[0][home[1]], lambda home: stored(*home))


def split(arrays: Mapping[str, Array], max_shard_size: int) -> list[list[str]]:
    """Distribute arrays over shards: fill each one in order; a larger array gets its own shard.

    Args:
        arrays: Arrays in file order.
        max_shard_size: Maximum bytes per shard, 1 or more.

    Returns:
        The names in each shard.
    """
    shards: list[list[str]] = []
    room = 0
    for name, array in arrays.items():
        if not shards or array.data.nbytes > room:
            shards.append([])
            room = max_shard_size
        shards[-1].append(name)
        room -= array.data.nbytes
    return shards


def write_shards(
    folder: Path,
    arrays: Mapping[str, Array],
    shards: Sequence[Sequence[str]],
    variant: str | None = None,
) -> None:
    """Write `model-00001-of-0000N.safetensors` and their index into a new folder.

    `ogpt.weights.model_weights.write_weights` puts them in place of older ones.
    """
    where: dict[str, str] = {}
    total_size = 0
    for number, names in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        file = folder / with_variant(name, variant)
        part = LazyArrays({name: name for name in names}, arrays.__getitem__)
        with open(file, "wb") as stream:
            total_size += write_stream(stream, part)
        where |= dict.fromkeys(names, file.name)
    index = {"metadata": {"total_size": total_size}, "weight_map": where}
    (folder / with_variant(INDEX_FILE, variant)).write_text(
        json.dumps(index, indent=2) + "\n", "utf-8"
    )


def size_in_bytes(size: int | str) -> int:
    """Parse a size as in transformers: bytes, or a string such as `5GB` or `200 MiB`.

    Raises:
        ConfigError: another string, or less than 1 byte.
    """
    found = size
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        found = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if not isinstance(found, int) or found < 1:
        raise ConfigError(
            f"max_shard_size is {size!r}; allowed: bytes (1 or more) or a string such as '5GB'",
            hint="pass max_shard_size as a number of bytes, or with KB, MB, GB or TB",
        )
    return found


def _weight_map(index: Path) -> dict[str, str]:
    """Read the weight map of an index: array name -> file name, which are not checked here."""
    content = read_json(index)
    where = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(where, dict) or not all(isinstance(file, str) for file in where.values()):
        raise damaged(index, f"its weight_map is {shown(where)}; allowed: file names by array name")
    return where


def _inside(index: Path, name: str) -> Path:
    """Return the path of a file in the folder of the index, or refuse it.

    A symbolic link may lead to the blobs of the same model in the Hub's cache, where all files are
    stored as links.
    """
    file = index.parent / name
    folder = Path(os.path.realpath(index.parent))
    blobs = [above.parent / "blobs" for above in folder.parents if above.name == "snapshots"]
    plain = name.isprintable() and not set(name) & {"/", "\\", ":"} and name not in _OUTSIDE
    if not plain or Path(os.path.realpath(file)).parent not in (folder, *blobs):
        raise WeightsError(
            f"{index} names the file {shown(name)}; allowed: files in its own folder",
            hint="do not load this model: its index is damaged or malicious",
        )
    return file


def _disagree(index: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{index} and its files do not belong together: {what}",
        hint="restore the index and the shards from the same copy",
    )
