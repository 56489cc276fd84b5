"""The settings of a run that starts, or of one that is resumed."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any, TypeVar

from ogpt.config.loader import to_toml
from ogpt.errors import ConfigError, OutputExists
from ogpt.folders.run_folder import SETTINGS_FILE, RunFolder
from ogpt.notices import tell
from ogpt.version import __version__

S = TypeVar("S")


def settings_of_run(
    out: Path,
    kind: type[S],
    load: Callable[[Path | None], S],
    *,
    config: Path | None,
    named: bool,
    resume: bool,
    cadence: Set[str],
) -> S:
    """The requested settings; on resuming, those of the run in `out`.

    Args:
        out: Folder of the run.
        kind: Class of the settings.
        load: Loads the requested settings with a TOML file, or without one.
        config: That TOML file.
        named: Whether the request names settings as a whole; resuming without any repeats the
            run's own.
        resume: Whether to resume the run.
        cadence: `section.field` of the settings that may change: they affect reports and
            checkpoints, not what is learned.

    Raises:
        ConfigError: invalid settings, or settings that differ from those of the run.
        OutputExists: `out` holds a run and `resume` is off, or holds other things.
    """
    if not RunFolder.is_run(out):
        RunFolder.check_free(out)
        if resume:
            tell("run-started", path=out)
        return load(config)
    if not resume:
        raise OutputExists(
            f"{out} already holds a run", hint="resume it with --resume, or choose another --out"
        )
    saved = RunFolder.read_settings(out, kind)
    asked = load(config if named else out / SETTINGS_FILE)
    check_same_settings(out, saved, asked, cadence)
    return asked


def check_same_settings(out: Path, saved: object, asked: object, cadence: Set[str]) -> None:
    """Check that what is resumed keeps its settings, but for those in `cadence`.

    Raises:
        ConfigError: they differ.
    """
    was, now = _flat(saved), _flat(asked)
    differing = [name for name in now if now[name] != was[name] and name not in cadence]
    if differing:
        raise ConfigError(
            f"the run in {out} was started with other settings: {', '.join(differing)}",
            hint="resume with the original settings, or start another run from its model (pretrain "
            "--init, finetune --model)",
        )


def opened_run(out: Path, settings: Any, **facts: Any) -> RunFolder:
    """The run in a folder; if there is none yet, a new one with these settings and facts."""
    if RunFolder.is_run(out):
        return RunFolder.open(out)
    comment = f"ogpt {__version__}, Python {platform.python_version()}"
    run = RunFolder.create(out, to_toml(settings, comment))
    run.facts |= facts
    return run


def _flat(settings: Any) -> dict[str, Any]:
    """The settings by `section.field`."""
    return {
        f"{section.name}.{item.name}": getattr(getattr(settings, section.name), item.name)
        for section in dataclasses.fields(settings)
        for item in dataclasses.fields(getattr(settings, section.name))
    }
