"""A configuration as a dictionary, as JSON and as the config.json of a model folder."""

from __future__ import annotations

import copy
import difflib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, overload

from ogpt.config.parity import Parity
from ogpt.errors import CheckpointError, ConfigError, UnknownSetting
from ogpt.hub import HubOptions, model_folder
from ogpt.layout import weights_files
from ogpt.notices import tell
from ogpt.reading import parse_json
from ogpt.storage import storage_error, whole_file

CONFIG_FILE = "config.json"

_NEARLY = 0.85
"""Likeness of a misspelt name; of transformers' other keys sep_token_id comes nearest, at 0.83."""

_LABELS = {"num_labels", "id2label", "label2id"}


class SavedConfig(ABC):
    """What Hugging Face's configurations do besides having fields: change, write and read them."""

    model_type: ClassVar[str]
    other_names: ClassVar[dict[str, str]]
    """The field that a name stands for."""
    defaults: ClassVar[dict[str, Any]]
    """The fields, with the value of one that is not given."""
    always_written: ClassVar[set[str]]
    """What config.json holds even where it is the default."""

    parity: Parity

    @abstractmethod
    def __init__(self, **values: Any) -> None:
        """Take fields by any of their names, and extras, and check them."""

    @abstractmethod
    def check(self) -> None:
        """Check every field."""

    def __repr__(self) -> str:
        """The class name and what config.json would hold."""
        values = dict(sorted(self.to_diff_dict().items()))
        shown = json.dumps(values, indent=2, skipkeys=True, default=repr)
        return f"{type(self).__name__} {shown}"

    def copy(self) -> Self:
        """A configuration of the same values that shares nothing with this one."""
        return copy.deepcopy(self)

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set the named fields and extras: all, or none where one cannot be.

        Raises:
            ConfigError: a value outside its range, or labels that contradict each other.
        """
        fresh = type(self)(**self._changed(self.to_dict(), config_dict))
        vars(self).clear()
        vars(self).update(vars(fresh))

    def update_from_string(self, update_str: str) -> None:
        """Set fields from text, each read as the type of its present value: all, or none.

        Args:
            update_str: name=value pairs with commas between them, such as
                "n_embd=10,resid_pdrop=0.2,afn=relu"; truth values are true or false.

        Raises:
            UnknownSetting: a name that is no field or extra.
            ConfigError: another form, a text that is not of the type, or a value outside its
                range.
        """
        changes = {}
        for pair in update_str.split(","):
            name, equals, text = (part.strip() for part in pair.partition("="))
            if not equals:
                raise ConfigError(
                    f"{pair!r} in {update_str!r} is not of the form name=value",
                    hint="for example n_embd=10,resid_pdrop=0.2,afn=relu",
                )
            if name not in {*vars(self), *self.other_names, "num_labels"}:
                raise _unknown([name], vars(self))
            changes[name] = _as_typed(name, text, getattr(self, name))
        self.update(changes)

    def to_dict(self) -> dict[str, Any]:
        """Every field and extra, with model_type, as plain values that are the caller's own."""
        values = copy.deepcopy(vars(self))
        return {"model_type": self.model_type, **values, "parity": self.parity.to_dict()}

    def to_diff_dict(self) -> dict[str, Any]:
        """What config.json holds: to_dict without name_or_path and without most defaults.

        The shape and the token ids stay in any case.
        """
        plain = type(self)().to_dict()
        return {
            name: value
            for name, value in self.to_dict().items()
            if name in self.always_written
            or (name != "name_or_path" and (name not in plain or value != plain[name]))
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """The configuration as JSON, keys sorted, with a line break at the end.

        Args:
            use_diff: Of to_diff_dict, not of to_dict.

        Raises:
            ConfigError: an extra that JSON cannot hold.
        """
        values = self.to_diff_dict() if use_diff else self.to_dict()
        try:
            return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"the configuration cannot be written as JSON: {error}",
                hint="extras may be finite numbers, texts, true, false, null, and lists and "
                "dictionaries of these",
            ) from error

    def to_json_file(self, json_file_path: str | Path, use_diff: bool = True) -> None:
        """Write to_json_string into a file, whole or not at all.

        Raises:
            ConfigError: an extra that JSON cannot hold.
            StorageError: the disk refuses.
        """
        text = self.to_json_string(use_diff)
        with whole_file(Path(json_file_path)) as temporary:
            temporary.write_text(text, "utf-8")

    def save_pretrained(self, folder: str | Path) -> None:
        """Check the fields, then write `config.json` into the folder, which is made if missing.

        Raises:
            ConfigError: a value outside its range, or an extra that JSON cannot hold.
            StorageError: the disk refuses.
        """
        self.check()
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(Path(folder), error) from error
        self.to_json_file(Path(folder) / CONFIG_FILE)

    @overload
    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: Literal[True], **kwargs: Any
    ) -> tuple[Self, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_dict(
        cls,
        config_dict: Mapping[str, Any],
        return_unused_kwargs: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...

    @classmethod
    def from_dict(
        cls, config_dict: Mapping[str, Any], return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Build from plain values; unknown keys are kept as extras.

        Args:
            config_dict: Values by any name of their fields; it is not changed.
            return_unused_kwargs: Give back also the kwargs that no field or extra has as a name,
                which are an error otherwise.
            **kwargs: Values that go before those of config_dict; dtype="auto" changes nothing.

        Raises:
            UnknownSetting: kwargs that no field or extra has as a name.
            ConfigError: a value outside its range, or the dictionary of another architecture.
        """
        config, unused = cls._built(config_dict, return_unused_kwargs, kwargs)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> Self:
        """Read a file that to_json_file wrote.

        Raises:
            CheckpointError: the file is missing or is not JSON.
            ConfigError: as from_dict.
        """
        return cls.from_dict(_read(Path(json_file)))

    @overload
    @classmethod
    def from_pretrained(
        cls, path_or_id: str | Path, return_unused_kwargs: Literal[True], **kwargs: Any
    ) -> tuple[Self, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls, path_or_id: str | Path, return_unused_kwargs: Literal[False] = False, **kwargs: Any
    ) -> Self: ...

    @classmethod
    def from_pretrained(
        cls, path_or_id: str | Path, return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Read the `config.json` of a model.

        Args:
            path_or_id: A model folder, a JSON file, or a Hub id.
            return_unused_kwargs: As in from_dict.
            **kwargs: Values that go before those of the file, as in from_dict; and where to look,
                as in ogpt.hub.model_folder: revision, cache_dir, token, local_files_only,
                force_download, subfolder.

        Raises:
            CheckpointError: the file is missing or is not JSON.
            HubError: the Hub does not give it.
            ConfigError: as from_dict.
        """
        where: HubOptions = {}
        for option in HubOptions.__annotations__.keys() & kwargs.keys():
            where[option] = kwargs.pop(option)  # type: ignore[literal-required]  # one of its own
        file = Path(path_or_id)
        if not file.is_file():
            file = model_folder(path_or_id, tokenizer_only=True, **where) / CONFIG_FILE
        config, unused = cls._built(_read(file), return_unused_kwargs, kwargs)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def _built(
        cls, values: Mapping[str, Any], unknown_allowed: bool, changes: Mapping[str, Any]
    ) -> tuple[Self, dict[str, Any]]:
        """A configuration, and the changes that no field or extra of it has as a name."""
        known = {*cls.defaults, *cls.other_names, *values, "num_labels"}
        unused = {name: value for name, value in changes.items() if name not in known}
        if unused and not unknown_allowed:
            raise _unknown(unused, known)
        used = {name: value for name, value in changes.items() if name in known}
        return cls(**cls._changed(copy.deepcopy(dict(values)), used)), unused

    @classmethod
    def _changed(cls, values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """`values` with `changes`, whichever names they use; new labels go before old ones."""
        fresh = {cls.other_names.get(name, name): value for name, value in changes.items()}
        if fresh.get("dtype") == "auto":
            del fresh["dtype"]
        left_out = set(fresh)
        present = values.get("id2label")
        if fresh.keys() & {"id2label", "label2id"} or (
            "num_labels" in fresh and fresh["num_labels"] != len(present or ())
        ):
            left_out |= _LABELS
        kept = {
            name: value
            for name, value in values.items()
            if cls.other_names.get(name, name) not in left_out
        }
        return kept | fresh


def tell_misspelt(names: Iterable[str], known: Iterable[str]) -> None:
    """Give notice of extras that look like a field, or belong elsewhere; the rest are legacy keys.

    Args:
        names: As given.
        known: Every name of every field.
    """
    known = list(known)
    for name in (name for name in names if name not in known):
        near = difflib.get_close_matches(name, known, 1, _NEARLY)
        if name == "attn_implementation":
            advice = "it is an argument of a model's from_pretrained"
            tell("unknown-setting", name=name, advice=advice)
        elif near:
            tell("unknown-setting", name=name, advice=f"did you mean {near[0]}?")


def _read(file: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        values = parse_json(file.read_text("utf-8"))
    except FileNotFoundError as error:
        if weights_files(item.name for item in file.parent.glob("*")).format == "openai":
            raise CheckpointError(
                f"{file.parent} holds OpenAI's files of 2018, which have no {file.name}",
                hint="ogpt.load reads them as they are; ogpt convert makes a model folder of them",
            ) from error
        raise CheckpointError(
            f"{file.parent} holds no {file.name}, so it is no model folder",
            hint="give the folder that holds config.json and model.safetensors, or a run",
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} is damaged: {error}", hint="restore the file from a copy of the model"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{file} is damaged: it holds {type(values).__name__}, not an object",
            hint="restore the file from a copy of the model",
        )
    return values


def _as_typed(name: str, text: str, present: object) -> Any:
    """`text` as the type of the present value."""
    if isinstance(present, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
    elif isinstance(present, int | float):
        try:
            return type(present)(text)
        except ValueError as error:
            raise _of_another_type(name, text, present) from error
    elif isinstance(present, str):
        return text
    raise _of_another_type(name, text, present)


def _of_another_type(name: str, text: str, present: object) -> ConfigError:
    if isinstance(present, bool | int | float):
        return ConfigError(
            f"{name} is {text!r}; allowed: "
            + ("true, false" if isinstance(present, bool) else f"text of {type(present).__name__}"),
            hint=f"{name} is {present!r} now: give a value of that type",
        )
    return ConfigError(
        f"{name} is {text!r}; its present value, {present!r}, has no type to read it as",
        hint=f"set it as an attribute, config.{name} = ..., or with update({{...}})",
    )


def _unknown(names: Iterable[str], known: Iterable[str]) -> UnknownSetting:
    names = list(names)
    near = difflib.get_close_matches(names[0], known, 1)
    return UnknownSetting(
        f"a configuration has no field {', '.join(map(repr, names))}",
        hint=f"did you mean {near[0]}?" if near else "see ogpt.OpenAIGPTConfig for the fields",
    )
