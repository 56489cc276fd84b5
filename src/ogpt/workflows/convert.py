"""`ogpt convert`: a model from one layout of files to another, with numpy alone."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from tokenizers import AddedToken

from ogpt.config.lstm_config import LSTMConfig, read_config
from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.errors import (
    BackendMissing,
    ConfigError,
    TokenizerError,
    VocabularyMismatch,
)
from ogpt.folders.model_card import write_card
from ogpt.folders.model_folder import ModelFolder, check_vocabulary
from ogpt.hub import HubOptions, model_folder
from ogpt.layout import CARD_FILE, GENERATION_FILE, TOKENIZER_FILES
from ogpt.notices import collecting
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import check_empty, check_writable, path_of, whole_folder
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.tokens.rust_bpe import bert_pipeline
from ogpt.tokens.tokenizer_folder import (
    PRE_TOKENIZER,
    TokenizerFolder,
    holds_tokenizer,
    read_folder,
    write_folder,
    write_max_length,
)
from ogpt.tokens.vocabulary import NAMINGS, UNK_TOKEN, write_vocabulary
from ogpt.weights.arrays import Array, LazyArrays
from ogpt.weights.h5_file import open_h5
from ogpt.weights.matching import match_weights
from ogpt.weights.model_weights import require_heads, write_weights
from ogpt.weights.openai_files import write_openai
from ogpt.weights.precision import DTYPES, cast
from ogpt.weights.safetensors_file import open_safetensors
from ogpt.weights.shapes import written_architecture
from ogpt.weights.sharded import size_in_bytes
from ogpt.weights.torch_file import open_bin
from ogpt.weights.wrappers import source_name, unwrapped

LAYOUTS = ("safetensors", "openai")
_SINGLE = {".safetensors": open_safetensors, ".bin": open_bin, ".h5": open_h5}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What `convert` wrote, and what it was made from."""

    folder: Path
    source_format: str
    """safetensors, bin, h5 or openai."""
    format: str
    """safetensors or openai."""
    architecture: str
    parameters: int
    dtypes: list[str]
    renamed: dict[str, str]
    """Name in the source -> written name, if they differ."""
    dropped: list[str]
    """Arrays of the source that are not weights of the model, or are copies of one."""
    added: list[str]
    """Weights that were copied from another weight of the source."""
    tokenizer: bool
    """Whether the source has a tokenizer, which is then converted too."""


def convert(
    source: str | Path | ModelFolder,
    out: str | Path,
    *,
    to: str = "safetensors",
    dtype: str | None = None,
    config: OpenAIGPTConfig | str | Path | None = None,
    n_head: int | None = None,
    max_shard_size: int | str = "5GB",
    reporter: Reporter = silent,
    **hub: Unpack[HubOptions],
) -> Conversion:
    """Convert any checkpoint that ogpt reads to a clean model folder, or to OpenAI's files.

    The source is not changed; `out` is written whole or not at all. One array is in memory at a
    time, and no framework is loaded.

    Args:
        source: A folder of Hugging Face's files (safetensors, .bin, .h5, whole or sharded) or of
            OpenAI's, a run, an id of the Hub, or a single weights file.
        out: Folder to create, or an empty one to fill.
        to: "safetensors" (a model folder for ogpt and transformers), or "openai"
            (params_shapes.json, params_*.npy and the vocabulary under OpenAI's names, with
            config.json beside them). OpenAI's layout holds the transformer without heads.
        dtype: float32, bfloat16, float16 or float64; None: as stored. OpenAI's files are float32.
        config: Configuration of a source without config.json: an object, its file or its folder.
        n_head: Number of attention heads of OpenAI's files, which do not store it; None: n_embd /
            64, with the notice `heads-assumed`.
        max_shard_size: Maximum size of a weights file, in bytes or as "200MB"; larger weights are
            split. The default is that of transformers 4.
        reporter: Receives progress events.
        **hub: How to fetch from the Hub, as in `ogpt.hub.model_folder`.

    Raises:
        OutputExists: `out` holds files.
        ConfigError: a setting outside its choices, a missing configuration, or an LSTM that is to
            become OpenAI's files.
        CheckpointError: the source holds no model.
        WeightsError: weights that are damaged, missing, left over, of another shape, not finite, or
            too large for `dtype`.
        TokenizerError, VocabularyMismatch: the source's tokenizer is damaged or not the model's.
        StorageError: the disk is full, or writing is not permitted.
    """
    out = path_of(out, "out")
    _check_choice("to", to, LAYOUTS)
    if to == "openai" and dtype not in (None, "float32"):
        raise ConfigError(
            f"dtype is {dtype!r}; allowed with to='openai': 'float32'",
            hint="omit dtype: OpenAI's files are always float32",
        )
    if dtype is not None:
        _check_choice("dtype", dtype, DTYPES)
    shard_bytes = size_in_bytes(max_shard_size)
    check_empty(out)
    check_writable(out)
    opened = _open(source, config, n_head, hub)
    if to == "openai" and isinstance(opened.config, LSTMConfig):
        raise ConfigError(
            f"to is 'openai' and the model is an LSTM ({source}); allowed: 'safetensors'",
            hint="omit --to: OpenAI's layout holds a transformer",
        )
    plan = match_weights(opened.arrays, opened.config, bare=to == "openai")
    tokenizer = _read_tokenizer(opened)
    if to == "openai":
        dtype = "float32"
    progress = Progress(reporter, "checking weights", len(plan.homes), "arrays")
    dtypes = plan.check(opened.arrays, dtype, progress)
    weights = LazyArrays(plan.homes, lambda home: cast(home, opened.arrays[home], dtype))
    saved = opened.config.copy()
    saved.architectures = [written_architecture(saved, plan.architecture)]
    saved.dtype = dtypes[0] if len(dtypes) == 1 else None
    if tokenizer is not None and hasattr(saved, TOKENIZER_FINGERPRINT):
        _check_fingerprint(opened, saved)
    with whole_folder(out) as folder:
        if to == "openai":
            write_openai(folder, weights)
        else:
            write_weights(folder, weights, shard_bytes)
        saved.save_pretrained(folder)
        if tokenizer is not None and opened.folder is not None:
            _write_tokenizer(tokenizer, opened.folder, folder, to, saved)
        _copy(opened.folder, folder, (GENERATION_FILE, CARD_FILE))
        if not (folder / CARD_FILE).exists():
            write_card(folder)
    homes = {name: source_name(opened.arrays, home) for name, home in plan.homes.items()}
    return Conversion(
        folder=out,
        source_format=opened.format,
        format=to,
        architecture=plan.architecture,
        parameters=sum(map(math.prod, plan.shapes.values())),
        dtypes=dtypes,
        renamed={home: name for name, home in homes.items() if home != name},
        dropped=plan.dropped,
        added=plan.added,
        tokenizer=tokenizer is not None,
    )


class _Opened(NamedTuple):
    """An open source; `folder` is None for a single file."""

    folder: Path | None
    format: str
    arrays: Mapping[str, Array]
    config: OpenAIGPTConfig


def _open(
    source: str | Path | ModelFolder,
    config: OpenAIGPTConfig | str | Path | None,
    n_head: int | None,
    hub: HubOptions,
) -> _Opened:
    single = not isinstance(source, ModelFolder) and Path(source).is_file()
    if single:
        file = Path(str(source))
        _check_choice("the ending of the weights file", file.suffix, tuple(_SINGLE))
    if config is None and not single:
        opened = ModelFolder.open(source, n_head=n_head, **hub)
        return _Opened(opened.path, opened.files.format, opened.weights, opened.config)
    if config is None:
        raise ConfigError(
            f"{source} is a single weights file, which has no configuration beside it",
            hint="pass the model's config.json: --config FILE",
        )
    if not isinstance(config, OpenAIGPTConfig):
        config = read_config(config)
    require_heads(config, n_head)
    if isinstance(source, ModelFolder):
        return _Opened(source.path, source.files.format, source.weights, config)
    if single:
        arrays = unwrapped(_SINGLE[file.suffix](file))
        return _Opened(None, file.suffix[1:], arrays, config)
    opened = ModelFolder.at(model_folder(source, **hub), variant=hub.get("variant"))
    return _Opened(opened.path, opened.files.format, opened.weights, config)


def _read_tokenizer(opened: _Opened) -> TokenizerFolder | None:
    """The tokenizer of the source, if it has one.

    Raises:
        TokenizerError: it is damaged.
        VocabularyMismatch: it has more entries than the model has rows.
    """
    folder = opened.folder
    if folder is None or not holds_tokenizer(folder):
        return None
    content = read_folder(folder)
    entries = max(*content.vocabulary.vocab.values(), *content.added, 0) + 1
    if entries > opened.config.vocab_size:
        raise VocabularyMismatch(
            f"the tokenizer has {entries} entries; the model in {folder} has "
            f"{opened.config.vocab_size} rows",
            hint="use the tokenizer that the model was trained with",
        )
    unknown_named = UNK_TOKEN in content.vocabulary.vocab or "unk_token" in content.special
    if not unknown_named and content.settings.get(PRE_TOKENIZER) != "bytes":
        raise TokenizerError(
            f"the vocabulary in {folder} has no {UNK_TOKEN!r}",
            hint="fetch the files again: the vocabulary is not GPT-1's",
        )
    return content


def _check_fingerprint(opened: _Opened, saved: OpenAIGPTConfig) -> None:
    """Check that the tokenizer is the model's; store the fingerprint of one that has grown.

    Raises:
        VocabularyMismatch: the model was trained with another tokenizer.
    """
    assert opened.folder is not None
    try:
        with collecting():  # text is not split here, so versions of packages do not matter
            tokenizer = open_tokenizer(opened.folder)
    except BackendMissing:
        return
    check_vocabulary(tokenizer, opened.config, opened.folder)
    setattr(saved, TOKENIZER_FINGERPRINT, tokenizer.fingerprint)


def _write_tokenizer(
    content: TokenizerFolder, source: Path, folder: Path, to: str, config: OpenAIGPTConfig
) -> None:
    """Write the vocabulary under the names of the layout, and copy the other files.

    OpenAI's files do not store a pre-tokenization; it is set to `openai`, the 2018 order.
    """
    others = [name for name in TOKENIZER_FILES if not any(name in naming for naming in NAMINGS)]
    if to == "safetensors" and not any((source / name).exists() for name in others):
        settings: dict[str, Any] = {
            "tokenizer_class": "OpenAIGPTTokenizer",
            "pre_tokenizer": "openai",
            "model_max_length": config.n_positions,
        }
        unknown = AddedToken(UNK_TOKEN, special=True, normalized=False)
        pipeline = bert_pipeline(content.vocabulary, UNK_TOKEN)
        pipeline.add_tokens([unknown])
        whole = replace(
            content,
            settings=settings,
            special={"unk_token": UNK_TOKEN},
            added={content.vocabulary.vocab[UNK_TOKEN]: unknown},
        )
        write_folder(folder, whole, pipeline.to_str())
        return
    vocab_file, merges_file = NAMINGS[LAYOUTS.index(to)]
    write_vocabulary(content.vocabulary, folder / vocab_file, folder / merges_file)
    _copy(source, folder, others)
    write_max_length(folder, config.n_positions)


def _copy(source: Path | None, folder: Path, names: Sequence[str]) -> None:
    """Copy those of the files that exist."""
    for name in names:
        if source is not None and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _check_choice(name: str, seen: str, allowed: tuple[str, ...]) -> None:
    if seen not in allowed:
        raise ConfigError(
            f"{name} is {seen!r}; allowed: {', '.join(allowed)}",
            hint=f"use {allowed[0]}, for example",
        )
