"""Load settings from presets, TOML files and `--set section.field=value`, and write them as TOML.

Precedence, lowest first: default of the dataclass, preset, file, --set.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.errors import ConfigError, UnknownSetting

S = TypeVar("S")


def preset_names() -> list[str]:
    """List the presets that ship with ogpt, in alphabetical order."""
    folder = resources.files("ogpt.config") / "presets"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir())


def load_settings(
    preset: str | None = None,
    file: str | Path | None = None,
    overrides: str | Sequence[str] = (),
) -> PretrainSettings:
    """Settings of a pre-training: a preset, then a TOML file, then `section.field=value`.

    Raises:
        UnknownSetting, ConfigError: as in `load_settings_of`.
    """
    return load_settings_of(PretrainSettings, preset, file, overrides)


def load_settings_of(
    kind: type[S],
    preset: str | None = None,
    file: str | Path | None = None,
    overrides: str | Sequence[str] = (),
) -> S:
    """Resolve a preset, a TOML file and `section.field=value` overrides into settings.

    Args:
        kind: A dataclass whose fields are sections, each a dataclass of settings.
        preset: Name of a preset of pre-training.
        file: TOML file.
        overrides: One `section.field=value` or several.

    Raises:
        UnknownSetting: the name of no setting.
        ConfigError: an unreadable file or value, or a value outside its range.
    """
    values: dict[str, dict[str, Any]] = {}
    if preset is not None:
        _merge(values, _read_preset(preset), f"preset {preset}")
    if file is not None:
        _merge(values, _read_toml(Path(file)), str(file))
    for override in (overrides,) if isinstance(overrides, str) else overrides:
        _merge(values, _parse_override(override), f"--set {override}")
    return _from_dict(kind, values, kind)


def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
    """Build the dataclass `cls` from plain values, checking every name and type.

    Raises:
        UnknownSetting: a name that `cls` does not have.
        ConfigError: a value of the wrong type or outside its range.
    """
    return _from_dict(cls, values, cls)


def _from_dict(cls: type[S], values: Mapping[str, Any], whole: type, prefix: str = "") -> S:
    hints = get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise _unknown(prefix + name, whole)
        arguments[name] = _convert(hints[name], value, prefix + name, whole)
    return cls(**arguments)


def to_toml(settings: Any, comment: str = "") -> str:
    """Write settings as TOML; `load_settings(file=...)` reads equal settings back."""
    lines = [f"# {line}" for line in comment.splitlines()]
    for section in fields(settings):
        lines.append(f"\n[{section.name}]")
        part = getattr(settings, section.name)
        for item in fields(part):
            lines.append(f"{item.name} = {_toml_value(getattr(part, item.name))}")
    return "\n".join(lines) + "\n"


def _read_preset(name: str) -> dict[str, Any]:
    if name not in preset_names():
        near = difflib.get_close_matches(name, preset_names(), 1)
        raise UnknownSetting(
            f"there is no preset {name!r}; there are {', '.join(preset_names())}",
            hint=f"did you mean {near[0]}?" if near else "choose one of these",
        )
    text = (resources.files("ogpt.config") / "presets" / f"{name}.toml").read_text("utf-8")
    return tomllib.loads(text)


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))  # editors may write a byte-order mark
    except OSError as error:
        raise ConfigError(
            f"could not read {file}: {error.strerror}", hint="check the path given with --config"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} is not TOML: {error}",
            hint="see the presets in ogpt/config/presets for the format",
        ) from error


def _parse_override(override: str) -> dict[str, Any]:
    name, equals, text = override.partition("=")
    section, dot, item = name.strip().partition(".")
    if not (equals and dot and section and item):
        raise ConfigError(
            f"--set {override!r} does not have the form section.field=value",
            hint="pass for example --set training.max_steps=1000",
        )
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = _number_or_word(text.strip())
    return {section: {item: value}}


def _number_or_word(text: str) -> float | str:
    """A number that people write and TOML does not have, such as .5; or a string without quotes."""
    try:
        return float(text)
    except ValueError:
        return text


def _merge(values: dict[str, dict[str, Any]], more: Mapping[str, Any], where: str) -> None:
    for section, part in more.items():
        if not isinstance(part, dict):
            raise ConfigError(
                f"{section!r} in {where} is not in a section",
                hint="put settings in a section, such as [training]",
            )
        values.setdefault(section, {}).update(part)


def _unknown(name: str, whole: type) -> UnknownSetting:
    sections: dict[str, Any] = get_type_hints(whole)
    known = list(sections)
    if "." in name:
        known = [f"{section}.{f.name}" for section in known for f in fields(sections[section])]
    near = difflib.get_close_matches(name, known, 1, cutoff=0.4)
    return UnknownSetting(
        f"there is no setting {name!r}",
        hint=f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}",
    )


def _convert(kind: Any, value: Any, name: str, whole: type) -> Any:
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        return _from_dict(kind, value, whole, f"{name}.")
    if kind is float and type(value) is int:
        return float(value)
    if kind is int and type(value) is float and value.is_integer():
        return int(value)  # 1e3
    allowed = kind
    if get_origin(kind) is Literal:
        allowed = type(get_args(kind)[0])
    if type(value) is not allowed:
        raise ConfigError(
            f"{name} is {value!r}, {type(value).__name__}; it must be {allowed.__name__}",
            hint=f"pass --set {name}=VALUE with a value of that type",
        )
    if kind is float and not math.isfinite(value):
        raise ConfigError(
            f"{name} is {value}; it must be a finite number",
            hint=f"change it with --set {name}=VALUE or in the TOML file",
        )
    return value


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
