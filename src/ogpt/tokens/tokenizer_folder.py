"""Read and write the tokenizer files of a model folder, in Hugging Face's format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from ogpt.errors import StorageError, TokenizerError
from ogpt.hub import HubOptions, is_hub_id, model_folder
from ogpt.layout import (
    ADDED_TOKENS_FILE,
    CONFIG_FILE,
    MERGES_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    VOCAB_FILE,
)
from ogpt.notices import tell
from ogpt.reading import unreadable
from ogpt.storage import path_of, whole_file, write_json
from ogpt.tokens.byte_words import is_byte_file, is_other_byte_level
from ogpt.tokens.special_tokens import NAMES, content_of
from ogpt.tokens.template import TEMPLATE, Template, read_template
from ogpt.tokens.vocabulary import (
    END_OF_WORD,
    NAMINGS,
    Vocabulary,
    check_word_ends,
    find_vocabulary,
    read_json_object,
    read_text,
    read_vocabulary,
    write_vocabulary,
)

PRE_TOKENIZER = "pre_tokenizer"
"""Key of the pre-tokenization in tokenizer_config.json."""
_CLASSES = ("OpenAIGPTTokenizer", "PreTrainedTokenizer", "TokenizersBackend")
"""Classes of transformers that a GPT-1 tokenizer may name; the last two may be any tokenizer."""
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_NO_LIMIT = 10**20  # transformers writes 10**30 for an unknown maximum length
_LISTS = ("additional_special_tokens", "extra_special_tokens")  # transformers 4 and 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFolder:
    """The content of a tokenizer folder."""

    vocabulary: Vocabulary
    added: dict[int, AddedToken] = field(default_factory=dict)
    """Added tokens by id: those beyond the vocabulary, and special tokens inside it."""
    special: dict[str, str] = field(default_factory=dict)
    """Special tokens by name: `unk_token`, `pad_token`, ..."""
    additional: list[str] = field(default_factory=list)
    """Special tokens without a name."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The rest of tokenizer_config.json."""
    template: Template | None = None
    """Special tokens around a text or a pair."""


def tokenizer_folder(path_or_id: str | Path, options: dict[str, Any]) -> Path:
    """Find the folder of a tokenizer, downloading it first if it is a Hub id.

    Args:
        path_or_id: A path, or a Hub id.
        options: Keyword arguments; those of `ogpt.hub.model_folder` are removed and used.

    Raises:
        HubError: the download failed.
    """
    hub: dict[str, Any] = {n: options.pop(n) for n in HubOptions.__annotations__ if n in options}
    if is_hub_id(path_or_id):
        return model_folder(path_or_id, tokenizer_only=True, **hub)
    return Path(path_of(path_or_id, "the tokenizer"), hub.get("subfolder", ""))


def holds_tokenizer(folder: Path) -> bool:
    """Return whether a folder has any vocabulary file, complete or not."""
    names = (TOKENIZER_FILE, *(name for naming in NAMINGS for name in naming))
    return any((folder / name).exists() for name in names)


def read_folder(folder: Path, pre_tokenizer: str | None = None) -> TokenizerFolder:
    """Read a tokenizer folder of ogpt or of transformers.

    Args:
        folder: With the files.
        pre_tokenizer: The pre-tokenization to use in place of the saved one.

    Raises:
        TokenizerError: the folder is missing, has no vocabulary, or a file is damaged.
    """
    with _naming_damage(folder):
        return _read_folder(folder, pre_tokenizer)


@contextmanager
def _naming_damage(place: Path) -> Iterator[None]:
    """Turn errors about values of unexpected types into a TokenizerError with the place."""
    try:
        yield
    except TokenizerError:
        raise
    except OSError as error:
        raise unreadable(place, error, TokenizerError) from error
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise TokenizerError(
            f"the tokenizer in {place} is damaged: {type(error).__name__}: {error}",
            hint="download its files again, or restore them from a copy",
        ) from error


def _read_folder(folder: Path, pre_tokenizer: str | None) -> TokenizerFolder:
    found = find_vocabulary(folder)
    pipeline = _read_if_there(folder / TOKENIZER_FILE)
    if found is None and not pipeline:
        raise TokenizerError(
            f"{folder} has no tokenizer files",
            hint="pass a folder with vocab.json and merges.txt, or tokenizer.json",
        )
    settings = read_settings(folder)
    if pre_tokenizer == "bytes" and is_other_byte_level(pipeline):
        # the caller wants the entries of GPT-2's tokenizer, but text split by our rules
        tell("pre-tokenizer-changed", path=folder, made_with="ByteLevel", asked=pre_tokenizer)
    elif pipeline:
        _check_pipeline(
            pipeline, folder / TOKENIZER_FILE, pre_tokenizer or settings.get(PRE_TOKENIZER)
        )
    pre_tokenizer = pre_tokenizer or settings.get(PRE_TOKENIZER)
    if pre_tokenizer != "bytes":
        _check_class(settings, folder)
    vocabulary = (
        read_vocabulary(*found) if found else vocabulary_of(pipeline, folder / TOKENIZER_FILE)
    )
    if pre_tokenizer != "bytes":
        check_word_ends(vocabulary, folder)
    if "max_len" in settings:  # transformers 2
        settings.setdefault("model_max_length", settings.pop("max_len"))
    names = {**_read_if_there(folder / SPECIAL_TOKENS_FILE), **settings}
    special = {name: content_of(name, names[name]) for name in NAMES if names.get(name)}
    additional = [
        content_of(key, token) for key in _LISTS for token in _listed(names.get(key) or [])
    ]
    return TokenizerFolder(
        vocabulary=vocabulary,
        added=_added(folder, pipeline, settings),
        special=special,
        additional=list(dict.fromkeys(additional)),
        settings={
            key: value
            for key, value in settings.items()
            if not (key == "model_max_length" and _is_no_limit(value))
        },
        template=read_template(settings, pipeline, folder),
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """Read tokenizer_config.json; empty if it does not exist.

    Of a folder that transformers wrote, tokenizer.json shows whether its pre-tokenization is
    `bytes`, and that is added as `pre_tokenizer`.

    Raises:
        TokenizerError: a file is damaged.
    """
    settings = _read_if_there(folder / TOKENIZER_CONFIG_FILE)
    file = folder / TOKENIZER_FILE
    if PRE_TOKENIZER in settings or not file.exists():
        return settings
    if '"ByteLevel"' in read_text(file) and is_byte_file(read_json_object(file)):  # rarely parsed
        settings[PRE_TOKENIZER] = "bytes"
    return settings


def read_tokenizer_file(file: Path) -> TokenizerFolder:
    """Read a single tokenizer.json.

    Raises:
        TokenizerError: the file is missing, damaged, or not of a GPT-1 tokenizer.
    """
    with _naming_damage(file):
        pipeline = read_json_object(file)
        _check_pipeline(pipeline, file, "bytes" if is_byte_file(pipeline) else None)
        return TokenizerFolder(
            vocabulary=vocabulary_of(pipeline, file), added=_added(file.parent, pipeline, {})
        )


def write_folder(folder: Path, content: TokenizerFolder, pipeline: str) -> tuple[Path, ...]:
    """Write the four files, each atomically; other files of the folder stay.

    In a folder with the config.json of a model, model_max_length is the model's n_positions.

    Args:
        folder: Created if missing.
        content: The tokenizer.
        pipeline: The text of tokenizer.json.

    Returns:
        The paths of the files.

    Raises:
        StorageError: the write fails, or a file has the name of the folder.
        TokenizerError: config.json is damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"could not create the folder {folder}: {error.strerror}",
            hint="choose another folder, or move the file of this name",
        ) from error
    write_vocabulary(content.vocabulary, folder / VOCAB_FILE, folder / MERGES_FILE)
    with whole_file(folder / TOKENIZER_FILE) as temporary:
        temporary.write_bytes(pipeline.encode())
    settings = {**content.settings}
    if (folder / CONFIG_FILE).exists():  # of a model, which takes no more tokens than its positions
        n_positions = read_json_object(folder / CONFIG_FILE).get("n_positions")
        settings["model_max_length"] = n_positions or settings["model_max_length"]
    settings = {
        "added_tokens_decoder": {
            str(index): {"content": token.content, **{key: getattr(token, key) for key in _FLAGS}}
            for index, token in sorted(content.added.items())
        },
        **({"additional_special_tokens": content.additional} if content.additional else {}),
        **settings,
        **content.special,
        **({TEMPLATE: list(content.template)} if content.template else {}),
    }
    write_json(folder / TOKENIZER_CONFIG_FILE, settings)
    return tuple(
        folder / name for name in (VOCAB_FILE, MERGES_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE)
    )


def write_max_length(folder: Path, n_positions: int) -> None:
    """Set model_max_length in tokenizer_config.json to the context length of the model.

    Without it, truncation=True would leave more tokens than the model takes. A folder without
    tokenizer files stays as it is.

    Raises:
        TokenizerError: tokenizer_config.json is damaged.
        StorageError: the write fails.
    """
    if holds_tokenizer(folder):
        settings = read_settings(folder)
        settings.pop("max_len", None)  # its name in transformers 2
        file = folder / TOKENIZER_CONFIG_FILE
        write_json(file, {**settings, "model_max_length": n_positions})


def vocabulary_of(pipeline: dict[str, Any], file: Path) -> Vocabulary:
    """Return the vocabulary in a tokenizer.json.

    Raises:
        TokenizerError: it is damaged.
    """
    try:
        vocab = {str(token): int(index) for token, index in pipeline["model"]["vocab"].items()}
        merges = [_pair(merge) for merge in pipeline["model"]["merges"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TokenizerError(
            f"the vocabulary or the merges in {file} are damaged: {error!r}",
            hint="download the file again",
        ) from error
    return Vocabulary(vocab, merges)


def _pair(merge: Any) -> tuple[str, str]:
    """Read a merge as versions of `tokenizers` write it: "l r" (before 0.20) or ["l", "r"]."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return str(left), str(right)


def _check_class(settings: dict[str, Any], folder: Path) -> None:
    """Refuse the folder of another kind of tokenizer, whose files may have the same names."""
    named = str(settings.get("tokenizer_class") or _CLASSES[0])
    if named.removesuffix("Fast") not in _CLASSES:
        raise TokenizerError(
            f"{folder / TOKENIZER_CONFIG_FILE} has tokenizer_class = {named!r}; allowed: "
            f"{', '.join(_CLASSES)}",
            hint="use the tokenizer of a GPT-1 model (model type openai-gpt); if this one is "
            'byte-level, pass pre_tokenizer=\'bytes\', or write "pre_tokenizer": "bytes" to '
            f"{TOKENIZER_CONFIG_FILE}",
        )


def _check_pipeline(pipeline: dict[str, Any], file: Path, pre_tokenizer: str | None) -> None:
    """Refuse a tokenizer.json that would give other ids than our BERT or byte-level pipeline."""
    if pre_tokenizer == "bytes":
        if not is_byte_file(pipeline):
            raise TokenizerError(
                f"{file} does not split text as the pre-tokenization 'bytes' of ogpt does",
                hint="use a tokenizer of ogpt train-tokenizer --pre-tokenizer bytes, or pass "
                "pre_tokenizer='bytes' to split text by ogpt's rules all the same",
            )
        return
    expected: dict[str, dict[str, tuple[Any, ...]]] = {
        "model": {"type": ("BPE",), "end_of_word_suffix": (END_OF_WORD,)},
        "normalizer": {
            "type": ("BertNormalizer",),
            "clean_text": (True,),
            "handle_chinese_chars": (True,),
            "strip_accents": (None, True),
            "lowercase": (True,),
        },
        "pre_tokenizer": {"type": ("BertPreTokenizer",)},
    }
    for part, settings in expected.items():
        for key, allowed in settings.items():
            seen = (pipeline.get(part) or {}).get(key)
            if seen not in allowed:
                raise TokenizerError(
                    f"{file} has {part}.{key} = {seen!r}; allowed: {allowed[0]!r}",
                    hint="use the tokenizer of a GPT-1 model (model type openai-gpt)",
                )


def _is_no_limit(value: Any) -> bool:
    return isinstance(value, int | float) and value > _NO_LIMIT


def _read_if_there(file: Path) -> dict[str, Any]:
    try:
        return read_json_object(file) if file.exists() else {}
    except OSError as error:  # the folder cannot be searched
        raise unreadable(file.parent, error, TokenizerError) from error


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    return list(value.values()) if isinstance(value, dict) else list(value)


def _added(
    folder: Path, pipeline: dict[str, Any], settings: dict[str, Any]
) -> dict[int, AddedToken]:
    """Read added tokens from where transformers stored them.

    This is tokenizer.json, else tokenizer_config.json (since 4.34), else added_tokens.json.
    """
    if pipeline.get("added_tokens"):
        return {int(item["id"]): _token(item) for item in pipeline["added_tokens"]}
    if settings.get("added_tokens_decoder"):
        return {int(key): _token(item) for key, item in settings["added_tokens_decoder"].items()}
    old = _read_if_there(folder / ADDED_TOKENS_FILE)
    return {int(index): _token({"content": token}) for token, index in old.items()}


def _token(item: dict[str, Any]) -> AddedToken:
    flags = {key: bool(item[key]) for key in _FLAGS if key in item}
    return AddedToken(content_of("an added token", item), **flags)
