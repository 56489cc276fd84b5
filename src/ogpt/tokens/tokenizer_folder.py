"""Read and write the tokenizer files of a model folder, in Hugging Face's format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from ogpt.errors import StorageError, TokenizerError, TokenizerNotFound
from ogpt.hub import HubOptions, is_hub_id, model_folder
from ogpt.layout import (
    ADDED_TOKENS_FILE,
    CHAT_TEMPLATE_FILE,
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
from ogpt.tokens.added_tokens import (
    added_tokens_of,
    flagged_tokens,
    listed,
    special_token,
    with_flags,
)
from ogpt.tokens.byte_words import is_byte_file, is_other_byte_level
from ogpt.tokens.pipeline_check import check_class, check_pipeline
from ogpt.tokens.special_tokens import LISTS, NAMES, content_of
from ogpt.tokens.template import TEMPLATE, Template, read_template
from ogpt.tokens.vocabulary import (
    NAMINGS,
    Vocabulary,
    check_word_ends,
    find_vocabulary,
    pairs_of,
    read_json_object,
    read_text,
    read_vocabulary,
    write_vocabulary,
)

PRE_TOKENIZER = "pre_tokenizer"
"""Key of the pre-tokenization in tokenizer_config.json."""
_NO_LIMIT = 10**20  # transformers writes 10**30 for an unknown maximum length


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
    own: dict[str, str] = field(default_factory=dict)
    """Special tokens by names of a model's own, such as `image_token`."""
    flags: dict[str, AddedToken] = field(default_factory=dict)
    """Special tokens with the flags that files store beside their names, by their text."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The rest of tokenizer_config.json."""
    template: Template | None = None
    """Special tokens around a text or a pair."""
    chat_template: str | dict[str, str] | None = None
    """A template in Jinja, or several by name."""

    def flagged(self, content: str) -> AddedToken:
        """Return a special token with its flags."""
        held = {token.content: token for token in self.added.values()}
        return held.get(content) or self.flags.get(content) or special_token(content)


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
        TokenizerNotFound: the folder is missing, or has no vocabulary.
        TokenizerError: a file is damaged.
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
        raise TokenizerNotFound(
            f"{folder} has no tokenizer files",
            hint="pass a folder with vocab.json and merges.txt, or tokenizer.json",
        )
    settings = read_settings(folder)
    if pre_tokenizer == "bytes" and is_other_byte_level(pipeline):
        # the caller wants the entries of GPT-2's tokenizer, but text split by our rules
        tell("pre-tokenizer-changed", path=folder, made_with="ByteLevel", asked=pre_tokenizer)
    elif pipeline:
        check_pipeline(
            pipeline, folder / TOKENIZER_FILE, pre_tokenizer or settings.get(PRE_TOKENIZER)
        )
    pre_tokenizer = pre_tokenizer or settings.get(PRE_TOKENIZER)
    if pre_tokenizer != "bytes":
        check_class(settings, folder)
    vocabulary = (
        read_vocabulary(*found) if found else vocabulary_of(pipeline, folder / TOKENIZER_FILE)
    )
    if pre_tokenizer != "bytes":
        check_word_ends(vocabulary, folder)
    if "max_len" in settings:  # transformers 2
        settings.setdefault("model_max_length", settings.pop("max_len"))
    names = {**_read_if_there(folder / SPECIAL_TOKENS_FILE), **settings}
    special = {name: content_of(name, names[name]) for name in NAMES if names.get(name)}
    unnamed = [(key, item) for key in LISTS for item in _unnamed(names.get(key))]
    additional = [content_of(key, item) for key, item in unnamed]
    old = _read_if_there(folder / ADDED_TOKENS_FILE)
    return TokenizerFolder(
        vocabulary=vocabulary,
        added=added_tokens_of(pipeline, {**names, **settings}, old),
        special=special,
        additional=list(dict.fromkeys(additional)),
        own=_own(names),
        flags=flagged_tokens(names),
        settings={
            key: value
            for key, value in settings.items()
            if not (key == "model_max_length" and _is_no_limit(value)) and key not in LISTS
        },
        template=read_template(settings, pipeline, folder),
        chat_template=_chat_template(folder, settings),
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
        check_pipeline(pipeline, file, "bytes" if is_byte_file(pipeline) else None)
        return TokenizerFolder(
            vocabulary=vocabulary_of(pipeline, file), added=added_tokens_of(pipeline, {}, {})
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
            str(index): with_flags(token) for index, token in sorted(content.added.items())
        },
        **({LISTS[0]: content.additional} if content.additional else {}),
        **({LISTS[1]: content.own} if content.own else {}),
        **settings,
        **content.special,
        **({TEMPLATE: list(content.template)} if content.template else {}),
    }
    chat = folder / CHAT_TEMPLATE_FILE
    if isinstance(content.chat_template, dict):  # as transformers 4 stores several
        named = content.chat_template.items()
        settings["chat_template"] = [{"name": name, "template": text} for name, text in named]
    if isinstance(content.chat_template, str):
        with whole_file(chat) as temporary:
            temporary.write_bytes(content.chat_template.encode())
    else:
        chat.unlink(missing_ok=True)
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
        merges = pairs_of(pipeline["model"]["merges"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TokenizerError(
            f"the vocabulary or the merges in {file} are damaged: {error!r}",
            hint="download the file again",
        ) from error
    return Vocabulary(vocab, merges)


def _is_no_limit(value: Any) -> bool:
    return isinstance(value, int | float) and value > _NO_LIMIT


def _read_if_there(file: Path) -> dict[str, Any]:
    try:
        return read_json_object(file) if file.exists() else {}
    except OSError as error:  # the folder cannot be searched
        raise unreadable(file.parent, error, TokenizerError) from error


def _unnamed(value: Any) -> list[Any]:
    """Return special tokens without a name; a dict has names."""
    return [] if isinstance(value, dict) else listed(value or [])


def _own(names: dict[str, Any]) -> dict[str, str]:
    """Return special tokens with names of a model's own.

    transformers stores them in `extra_special_tokens`, and version 5 takes any `..._token` for one.
    """
    given = names.get(LISTS[1])
    found = given if isinstance(given, dict) else {}
    found |= {
        name: item
        for name, item in names.items()
        if name.endswith("_token") and name not in NAMES and isinstance(item, str | dict)
    }
    return {name: content_of(name, item) for name, item in found.items()}


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | dict[str, str] | None:
    """Return the chat template of a folder: of its file, else of tokenizer_config.json."""
    stored = settings.get("chat_template")
    if (folder / CHAT_TEMPLATE_FILE).exists():
        stored = read_text(folder / CHAT_TEMPLATE_FILE)
    if isinstance(stored, list):
        return {str(one["name"]): str(one["template"]) for one in stored}
    if stored is None or isinstance(stored, str):
        return stored
    raise TokenizerError(
        f"chat_template in {folder} is {stored!r}; allowed: a template in Jinja, or a list of such",
        hint="restore the file, or delete the entry",
    )
