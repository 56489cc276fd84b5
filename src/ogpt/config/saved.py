"""Convert a configuration to and from a dictionary, JSON and the config.json of a model folder."""

from __future__ import annotations

import copy
import difflib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, overload

from ogpt.config.config_file import config_values, read_values
from ogpt.config.parity import Parity
from ogpt.errors import ConfigError, UnknownSetting
from ogpt.hub import HubOptions
from ogpt.layout import CONFIG_FILE
from ogpt.notices import tell
from ogpt.storage import storage_error, whole_file

# difflib's similarity from which a name counts as misspelled. The closest legitimate key of
# transformers, sep_token_id, has 0.83 (to eos_token_id).
_MISSPELLED = 0.85

_LABELS = {"num_labels", "id2label", "label2id"}


class SavedConfig(ABC):
    """Reading, writing and updating of a configuration, as in Hugging Face's PretrainedConfig."""

    model_type: ClassVar[str]
    other_names: ClassVar[dict[str, str]]
    """Aliases: other name -> field."""
    defaults: ClassVar[dict[str, Any]]
    """Field -> default value."""
    always_written: ClassVar[set[str]]
    """Keys that config.json contains even if they have their default value."""

    parity: Parity

    @abstractmethod
    def __init__(self, **values: Any) -> None:
        """Set fields by any of their names, and extras, and validate them."""

    @abstractmethod
    def check(self) -> None:
        """Validate all fields."""

    def __repr__(self) -> str:
        """Return the class name and the content of config.json."""
        values = dict(sorted(self.to_diff_dict().items()))
        shown = json.dumps(values, indent=2, skipkeys=True, default=repr)
        return f"{type(self).__name__} {shown}"

    def copy(self) -> Self:
        """Return an independent copy."""
        return copy.deepcopy(self)

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set the named fields and extras; if one is invalid, none is set.

        Raises:
            ConfigError: a value outside its range, or labels that contradict each other.
        """
        fresh = type(self)(**self._changed(self.to_dict(), config_dict))
        vars(self).clear()
        vars(self).update(vars(fresh))

    def update_from_string(self, update_str: str) -> None:
        """Set fields from a string; if one is invalid, none is set.

        Args:
            update_str: Pairs name=value, separated by commas, such as
                "n_embd=10,resid_pdrop=0.2,afn=relu". Each value is converted to the type of the
                current one; booleans are true or false.

        Raises:
            UnknownSetting: a name that is not a field or extra.
            ConfigError: a malformed pair, a value of another type, or a value outside its range.
        """
        changes = {}
        for pair in update_str.split(","):
            name, equals, text = (part.strip() for part in pair.partition("="))
            if not equals:
                raise ConfigError(
                    f"{pair!r} in {update_str!r} does not have the form name=value",
                    hint="pass for example n_embd=10,resid_pdrop=0.2,afn=relu",
                )
            if name not in {*vars(self), *self.other_names, "num_labels"}:
                raise _unknown([name], vars(self))
            changes[name] = _as_typed(name, text, getattr(self, name))
        self.update(changes)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and extras, with model_type, as an independent dictionary."""
        values = copy.deepcopy(vars(self))
        return {"model_type": self.model_type, **values, "parity": self.parity.to_dict()}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the content of config.json: to_dict without name_or_path and most defaults.

        The shape of the model and the token ids are always included, so that a change of defaults
        cannot change a saved model.
        """
        plain = type(self)().to_dict()
        return {
            name: value
            for name, value in self.to_dict().items()
            if name in self.always_written
            or (name != "name_or_path" and (name not in plain or value != plain[name]))
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """Return the configuration as JSON with sorted keys and a final line break.

        Args:
            use_diff: Whether to write to_diff_dict instead of to_dict.

        Raises:
            ConfigError: an extra that JSON cannot represent.
        """
        values = self.to_diff_dict() if use_diff else self.to_dict()
        try:
            return json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"the configuration cannot be written as JSON: {error}",
                hint="use only finite numbers, strings, true, false, null, and lists and "
                "dictionaries of these as extras",
            ) from error

    def to_json_file(self, json_file_path: str | Path, use_diff: bool = True) -> None:
        """Write to_json_string to a file, atomically.

        Raises:
            ConfigError: an extra that JSON cannot represent.
            StorageError: the write fails.
        """
        text = self.to_json_string(use_diff)
        with whole_file(Path(json_file_path)) as temporary:
            temporary.write_text(text, "utf-8")

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Validate the fields, then write `config.json` to the folder.

        Args:
            save_directory: Created if missing.

        Raises:
            ConfigError: a value outside its range, or an extra that JSON cannot represent.
            StorageError: the write fails.
        """
        self.check()
        try:
            Path(save_directory).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(Path(save_directory), error) from error
        self.to_json_file(Path(save_directory) / CONFIG_FILE)

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
        """Build a configuration from a dictionary; unknown keys are kept as extras.

        Args:
            config_dict: Values by any name of their fields. It is not modified.
            return_unused_kwargs: Also return the kwargs that are not fields or extras; otherwise
                they are an error.
            **kwargs: Values that override config_dict; dtype="auto" changes nothing.

        Returns:
            The configuration, and the unused kwargs if requested.

        Raises:
            UnknownSetting: kwargs that are not fields or extras.
            ConfigError: a value outside its range, or a dictionary of another architecture.
        """
        config, unused = cls._built(config_dict, return_unused_kwargs, kwargs)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> Self:
        """Read a file that to_json_file wrote.

        Raises:
            CheckpointError: the file is missing or damaged.
            ConfigError: as from_dict.
        """
        return cls.from_dict(read_values(Path(json_file)))

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        return_unused_kwargs: Literal[True],
        **kwargs: Any,
    ) -> tuple[Self, dict[str, Any]]: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        return_unused_kwargs: Literal[False] = False,
        **kwargs: Any,
    ) -> Self: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        return_unused_kwargs: bool = False,
        **kwargs: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Read the `config.json` of a model.

        Args:
            pretrained_model_name_or_path: A model folder, a JSON file, or a Hub id.
            return_unused_kwargs: As in from_dict.
            **kwargs: Values that override the file, as in from_dict; and the arguments of
                ogpt.hub.model_folder: revision, cache_dir, token, local_files_only,
                force_download, subfolder, variant.

        Returns:
            The configuration, and the unused kwargs if requested.

        Raises:
            CheckpointError: the file is missing or damaged.
            HubError: the download failed.
            ConfigError: as from_dict.
        """
        values, changes = cls.get_config_dict(pretrained_model_name_or_path, **kwargs)
        config, unused = cls._built(values, return_unused_kwargs, changes)
        return (config, unused) if return_unused_kwargs else config

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read the `config.json` of a model as a dictionary.

        Args:
            pretrained_model_name_or_path: As in from_pretrained.
            **kwargs: As in from_pretrained.

        Returns:
            The values as they are in the file, and the kwargs that do not concern the Hub.

        Raises:
            CheckpointError: the file is missing or damaged.
            HubError: the download failed.
        """
        where: HubOptions = {}
        for option in HubOptions.__annotations__.keys() & kwargs.keys():
            where[option] = kwargs.pop(option)  # type: ignore[literal-required]  # one of its keys
        return config_values(pretrained_model_name_or_path, **where), kwargs

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Self:
        """The configuration of the part that reads text: this one.

        Args:
            decoder: Has no effect: GPT-1 is a decoder.
            encoder: Has no effect.
        """
        return self

    @classmethod
    def _built(
        cls, values: Mapping[str, Any], unknown_allowed: bool, changes: Mapping[str, Any]
    ) -> tuple[Self, dict[str, Any]]:
        """Build a configuration, and return the changes that are not fields or extras too."""
        known = {*cls.defaults, *cls.other_names, *values, "num_labels"}
        unused = {name: value for name, value in changes.items() if name not in known}
        if unused and not unknown_allowed:
            raise _unknown(unused, known)
        used = {name: value for name, value in changes.items() if name in known}
        return cls(**cls._changed(copy.deepcopy(dict(values)), used)), unused

    @classmethod
    def _changed(cls, values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """Merge `changes` into `values` across aliases; new labels replace all old ones."""
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
    """Warn about extras that look like a misspelled field; the rest are legacy keys.

    Args:
        names: Names of the extras.
        known: All names of all fields.
    """
    known = list(known)
    for name in (name for name in names if name not in known):
        near = difflib.get_close_matches(name, known, 1, _MISSPELLED)
        if name == "attn_implementation":
            advice = "pass it to from_pretrained of a model"
            tell("unknown-setting", name=name, advice=advice)
        elif near:
            tell("unknown-setting", name=name, advice=f"did you mean {near[0]}?")


def _as_typed(name: str, text: str, current: object) -> Any:
    """Convert `text` to the type of the current value."""
    if isinstance(current, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
    elif isinstance(current, int | float):
        try:
            return type(current)(text)
        except ValueError as error:
            raise _wrong_type(name, text, current) from error
    elif isinstance(current, str):
        return text
    raise _wrong_type(name, text, current)


def _wrong_type(name: str, text: str, current: object) -> ConfigError:
    if isinstance(current, bool | int | float):
        return ConfigError(
            f"{name} is {text!r}; allowed: "
            + ("true, false" if isinstance(current, bool) else f"text of {type(current).__name__}"),
            hint=f"pass a value of the type of the current one, {current!r}",
        )
    return ConfigError(
        f"{name} is {text!r}; its current value, {current!r}, has no type to convert it to",
        hint=f"set it as an attribute, config.{name} = ..., or with update({{...}})",
    )


def _unknown(names: Iterable[str], known: Iterable[str]) -> UnknownSetting:
    names = list(names)
    near = difflib.get_close_matches(names[0], known, 1)
    return UnknownSetting(
        f"a configuration has no field {', '.join(map(repr, names))}",
        hint=f"did you mean {near[0]}?" if near else "see ogpt.OpenAIGPTConfig for the fields",
    )
