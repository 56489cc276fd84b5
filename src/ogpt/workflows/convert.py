"""A model from one layout of files to another, in numpy alone: `ogpt convert`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from tokenizers import AddedToken

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, OutputExists, TokenizerError, VocabularyMismatch
from ogpt.folders.model_card import write_card
from ogpt.folders.model_folder import resolve
from ogpt.hub import HubOptions, model_folder
from ogpt.layout import CARD_FILE, CONFIG_FILES, TOKENIZER_FILES, weights_files
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import whole_folder
from ogpt.tokens.rust_bpe import bert_pipeline
from ogpt.tokens.tokenizer_folder import TokenizerFolder, holds_tokenizer, read_folder, write_folder
from ogpt.tokens.vocabulary import NAMINGS, UNK_TOKEN, write_vocabulary
from ogpt.weights.arrays import Array, LazyArrays
from ogpt.weights.h5_file import open_h5
from ogpt.weights.matching import match_weights
from ogpt.weights.model_weights import folder_config, open_weights, require_heads, write_weights
from ogpt.weights.openai_files import write_openai
from ogpt.weights.precision import DTYPES, cast
from ogpt.weights.safetensors_file import open_safetensors
from ogpt.weights.sharded import size_in_bytes
from ogpt.weights.torch_file import open_bin

LAYOUTS = ("safetensors", "openai")
_SINGLE = {".safetensors": open_safetensors, ".bin": open_bin, ".h5": open_h5}


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was made of what."""

    folder: Path
    source_format: str
    """safetensors, bin, h5 or openai."""
    format: str
    """safetensors or openai."""
    architecture: str
    parameters: int
    dtypes: list[str]
    renamed: dict[str, str]
    """Name in the source -> name that was written, where they differ."""
    dropped: list[str]
    """Arrays of the source that are no weights of the model, or copies of one."""
    added: list[str]
    """Weights that are a copy of another one in the source."""
    tokenizer: bool
    """Whether the source had a tokenizer, which then went along."""


def convert(
    source: str | Path,
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
    """Make a clean model folder, or OpenAI's files, of any checkpoint that ogpt reads.

    The source stays as it is; `out` is written whole or not at all. One array is in memory at a
    time, and no framework is loaded.

    Args:
        source: A folder of Hugging Face's (safetensors, .bin, .h5, whole or sharded) or OpenAI's
            files, a run, an id of the Hub, or one weights file.
        out: The folder to make.
        to: "safetensors" (a model folder for ogpt and transformers), or "openai"
            (params_shapes.json, params_*.npy and the vocabulary under OpenAI's names, with
            config.json beside them). OpenAI's layout holds the transformer without heads.
        dtype: float32, bfloat16, float16 or float64; None: as stored. OpenAI's files are float32.
        config: Of a source that has no config.json: the configuration, its file or its folder.
        n_head: Attention heads of OpenAI's files, which do not tell; None: n_embd / 64, with the
            notice `heads-assumed`.
        max_shard_size: Bytes of a weights file, or a size such as "200MB", beyond which there are
            several; transformers 4's default.
        reporter: Told how far it is.
        **hub: How to fetch from the Hub, as `ogpt.hub.model_folder`.

    Raises:
        OutputExists: `out` exists.
        ConfigError: a setting outside its choices, or a configuration that is missing.
        CheckpointError: no model there.
        WeightsError: weights that are damaged, missing, left over, of another shape, or no finite
            numbers; or numbers too large for `dtype`.
        TokenizerError, VocabularyMismatch: the source's tokenizer is damaged or not the model's.
        StorageError: the disk is full or refuses.
    """
    out = Path(out)
    _check_choice("to", to, LAYOUTS)
    if to == "openai" and dtype not in (None, "float32"):
        raise ConfigError(
            f"dtype is {dtype!r}; allowed with to='openai': 'float32'",
            hint="OpenAI's files hold float32",
        )
    if dtype is not None:
        _check_choice("dtype", dtype, DTYPES)
    shard_bytes = size_in_bytes(max_shard_size)
    if out.exists():
        raise OutputExists(f"{out} exists already", hint="choose another folder, or delete it")
    opened = _open(source, config, n_head, hub)
    plan = match_weights(opened.arrays, opened.config, bare=to == "openai")
    tokenizer = _read_tokenizer(opened)
    if to == "openai":
        dtype = "float32"
    progress = Progress(reporter, "checking weights", len(plan.homes), "arrays")
    dtypes = plan.check(opened.arrays, dtype, progress)
    weights = LazyArrays(plan.homes, lambda home: cast(home, opened.arrays[home], dtype))
    saved = OpenAIGPTConfig.from_dict(opened.config.to_dict())
    saved.architectures = [plan.architecture]
    saved.dtype = dtypes[0] if len(dtypes) == 1 else None
    with whole_folder(out) as folder:
        if to == "openai":
            write_openai(folder, weights)
        else:
            write_weights(folder, weights, shard_bytes)
        saved.save_pretrained(folder)
        if tokenizer is not None and opened.folder is not None:
            _write_tokenizer(tokenizer, opened.folder, folder, to, saved)
        _copy(opened.folder, folder, (CONFIG_FILES[1], CARD_FILE))
        if not (folder / CARD_FILE).exists():
            write_card(folder)
    return Conversion(
        folder=out,
        source_format=opened.format,
        format=to,
        architecture=plan.architecture,
        parameters=sum(map(math.prod, plan.shapes.values())),
        dtypes=dtypes,
        renamed={home: name for name, home in plan.homes.items() if home != name},
        dropped=plan.dropped,
        added=plan.added,
        tokenizer=tokenizer is not None,
    )


class _Opened(NamedTuple):
    """A source: its folder, or None for a single file."""

    folder: Path | None
    format: str
    arrays: Mapping[str, Array]
    config: OpenAIGPTConfig


def _open(
    source: str | Path,
    config: OpenAIGPTConfig | str | Path | None,
    n_head: int | None,
    hub: HubOptions,
) -> _Opened:
    if Path(source).is_file():
        file = Path(source)
        _check_choice("the ending of the weights file", file.suffix, tuple(_SINGLE))
        arrays, form, folder = _SINGLE[file.suffix](file), file.suffix[1:], None
    else:
        folder = model_folder(source, **hub)
        if config is None:
            folder = resolve(folder)
        arrays = open_weights(folder)
        form = weights_files(file.name for file in folder.glob("*")).format
    return _Opened(folder, form, arrays, _config(folder, arrays, config, n_head, source))


def _config(
    folder: Path | None,
    arrays: Mapping[str, Array],
    given: OpenAIGPTConfig | str | Path | None,
    n_head: int | None,
    source: str | Path,
) -> OpenAIGPTConfig:
    """The configuration: given, in the folder, or told by the shapes of OpenAI's files."""
    if given is None and folder is not None:
        return folder_config(folder, n_head)
    if given is None:
        raise ConfigError(
            f"{source} is a weights file, which has no configuration beside it",
            hint="give the model's config.json: --config FILE",
        )
    config = given if isinstance(given, OpenAIGPTConfig) else OpenAIGPTConfig.from_pretrained(given)
    require_heads(config, n_head)
    return config


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
    if UNK_TOKEN not in content.vocabulary.vocab and "unk_token" not in content.special:
        raise TokenizerError(
            f"the vocabulary in {folder} has no {UNK_TOKEN!r}",
            hint="it is not GPT-1's: fetch the files again",
        )
    return content


def _write_tokenizer(
    content: TokenizerFolder, source: Path, folder: Path, to: str, config: OpenAIGPTConfig
) -> None:
    """The vocabulary under the names of the layout; the other files as they are.

    OpenAI's files alone do not tell how text becomes words: they are read in the order of 2018.
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


def _copy(source: Path | None, folder: Path, names: Sequence[str]) -> None:
    """Copy those of the files that are there."""
    for name in names:
        if source is not None and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _check_choice(name: str, seen: str, allowed: tuple[str, ...]) -> None:
    if seen not in allowed:
        raise ConfigError(
            f"{name} is {seen!r}; allowed: {', '.join(allowed)}", hint=f"for example {allowed[0]}"
        )
