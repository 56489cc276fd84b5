"""The folder of a run: settings, metrics, checkpoints; each checkpoint is a model folder.

RUN/config.toml                     the resolved settings
RUN/run.json                        which checkpoint is best and last, and facts of the run
RUN/metrics.jsonl                   the events of training, one per line
RUN/checkpoints/step-00001000/      config.json, model.safetensors, tokenizer files, card
RUN/checkpoints/step-00001000/resume/   what resuming needs besides: optimizer, state.json

This file knows paths and facts. What a checkpoint holds is written and read by functions that the
caller passes, so no array goes through here.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ogpt import notices
from ogpt.config.loader import load_settings_of
from ogpt.errors import CheckpointError, DamagedData, OutputExists
from ogpt.folders.lease import remove_unless_held
from ogpt.folders.model_folder import CHECKPOINT_NAME, CHECKPOINTS, RUN_FILE, read_run_facts
from ogpt.storage import held_names, sha256_of, whole_file, whole_folder, write_json

SETTINGS_FILE = "config.toml"
METRICS_FILE = "metrics.jsonl"
RESUME_FOLDER = "resume"
_BEFORE_RUN = ("tokenizer", "shards", SETTINGS_FILE)  # written before run.json makes it a run
_OF_STEP = ("train", "eval", "probe")
"""Kinds of events that name their step."""
_STATE_FILE = f"{RESUME_FOLDER}/state.json"

S = TypeVar("S")


class RunFolder:
    """One run on disk.

    Args:
        path: The folder.
        facts: Content of run.json.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.facts = facts

    @classmethod
    def create(cls, path: Path, settings_toml: str) -> RunFolder:
        """Start a run in a folder that holds none.

        Raises:
            OutputExists: the folder holds another run.
        """
        if (path / RUN_FILE).exists():
            raise OutputExists(
                f"{path} already holds a run",
                hint="resume it with --resume, or choose another --out",
            )
        path.mkdir(parents=True, exist_ok=True)
        with whole_file(path / SETTINGS_FILE) as temporary:
            temporary.write_text(settings_toml, "utf-8")
        facts = {"format": 1, "best": None, "last": None, "finished": False}
        run = cls(path, {**facts, "settings_sha256": sha256_of(path / SETTINGS_FILE)})
        run.save_facts()
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a run that was started.

        Raises:
            CheckpointError: run.json is damaged.
        """
        return cls(path, read_run_facts(path))

    @staticmethod
    def check_free(path: Path) -> None:
        """Check that a run may start in `path`: missing, empty, or interrupted before run.json.

        Raises:
            OutputExists: it is a file, or holds other things.
        """
        if not path.exists():
            return
        names = held_names(path) if path.is_dir() else [path.name]
        foreign = [name for name in names if name not in _BEFORE_RUN]
        if foreign:
            raise OutputExists(
                f"{path} is no run and holds {', '.join(sorted(foreign)[:5])}",
                hint="choose another --out, new or empty",
            )

    @staticmethod
    def is_run(path: Path) -> bool:
        """Whether the folder holds a run."""
        return (path / RUN_FILE).exists()

    @staticmethod
    def read_settings(path: Path, kind: type[S]) -> S:
        """The settings that the run in `path` was started with, of the class `kind`.

        Raises:
            CheckpointError: config.toml is missing, or was altered.
        """
        if not (path / SETTINGS_FILE).is_file():
            raise CheckpointError(
                f"the run in {path} has no {SETTINGS_FILE}, which holds its settings",
                hint="restore it from a copy, or start a new run from a checkpoint with --init",
            )
        known = read_run_facts(path).get("settings_sha256")
        if known is not None and known != sha256_of(path / SETTINGS_FILE):
            raise CheckpointError(
                f"{path / SETTINGS_FILE} was altered since the run started: its sha256 is not "
                f"{known}",
                hint="restore it from a copy, or start a new run from a checkpoint with --init",
            )
        return load_settings_of(kind, file=path / SETTINGS_FILE)

    def save_facts(self) -> None:
        """Write run.json."""
        write_json(self.path / RUN_FILE, self.facts)

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint after `step` optimizer steps."""
        return self.path / CHECKPOINTS / f"step-{step:08d}"

    def save(
        self,
        step: int,
        *,
        best: bool,
        state: Mapping[str, Any],
        write: Callable[[Path], None],
    ) -> Path:
        """Write a checkpoint, then point at it, then remove what is neither best nor last.

        In this order, a kill or a full disk at any moment leaves the checkpoints that run.json
        names whole.

        Args:
            step: Optimizer steps taken.
            best: Whether it is the best checkpoint so far.
            state: What `load_last` gives back beside the step.
            write: Writes the checkpoint's files into an empty folder.

        Raises:
            StorageError: the checkpoint could not be written.
        """
        target = self.checkpoint(step)
        best_name = target.name if best else self.facts["best"]
        with whole_folder(target) as folder:
            write(folder)
            (folder / RESUME_FOLDER).mkdir(exist_ok=True)
            resumed = (file for file in (folder / RESUME_FOLDER).rglob("*") if file.is_file())
            files = [*folder.glob("*.safetensors"), *resumed]
            sha256 = {file.relative_to(folder).as_posix(): sha256_of(file) for file in files}
            write_json(
                folder / _STATE_FILE, {"step": step, "best": best_name, "sha256": sha256, **state}
            )
        self._point(last=target.name, best=best_name)
        return target

    def mark_best(self, state: Mapping[str, Any]) -> Path:
        """Make the last checkpoint the best one too, without writing its weights again."""
        target: Path = self.path / CHECKPOINTS / self.facts["last"]
        known = json.loads((target / _STATE_FILE).read_text("utf-8"))
        write_json(target / _STATE_FILE, {**known, "best": target.name, **state})
        self._point(last=target.name, best=target.name)
        return target

    def keep_best(self) -> None:
        """Of a finished run, keep the weights of its best checkpoint (or else its last) alone.

        They take a sixth of the space at most: the optimizer has two moments for each weight.
        """
        name = self.facts["best"] or self.facts["last"]
        self._point(last=name, best=self.facts["best"])
        shutil.rmtree(self.path / CHECKPOINTS / name / RESUME_FOLDER, ignore_errors=True)

    def load_last(self, load: Callable[[Path], None]) -> dict[str, Any] | None:
        """Load the newest whole checkpoint and return its state; None if there is none yet.

        A damaged checkpoint is skipped with the notice `checkpoint-set-aside`.

        Args:
            load: Loads the checkpoint in a folder; any error of it means that it is damaged.

        Raises:
            CheckpointError: there are checkpoints, but none is whole.
        """
        for leftover in (self.path / CHECKPOINTS).glob(".step-*"):  # of a kill while saving
            shutil.rmtree(leftover)
        found = sorted(self._checkpoints(), reverse=True)
        for folder in found:
            try:
                state = json.loads((folder / _STATE_FILE).read_text("utf-8"))
                step = int(state["step"])
                _check_sha256(folder, state.get("sha256", {}))
                load(folder)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                notices.tell("checkpoint-set-aside", path=folder, reason=error)
                continue
            # after a kill between checkpoint and run.json, only the checkpoint knows the best one
            best = next((one.name for one in found if one.name == state.get("best")), None)
            self.facts.update(last=folder.name, best=best)
            self.save_facts()
            return {**state, "step": step}
        if found or self.facts["last"]:
            raise CheckpointError(
                f"none of the {len(found)} checkpoints in {self.path} is whole; the last was "
                f"{self.facts['last']}",
                hint="restore one from a copy, or start a new run in another --out",
            )
        return None

    def cut_metrics(self, step: int, *, evaluates: bool = False) -> None:
        """Remove the events that a resumed run reports again.

        Args:
            step: Steps taken; events after it are removed.
            evaluates: Whether the run begins with an evaluation, as one does whose last step is
                taken; earlier ones of this step are then removed too.
        """
        file = self.path / METRICS_FILE
        again = ("eval", "probe") if evaluates else ()
        kept = [
            event
            for event in read_events(file)
            if event.get("step", 0) < step + (event["event"] not in again)
        ]
        with whole_file(file) as temporary:
            temporary.write_text("".join(json.dumps(event) + "\n" for event in kept), "utf-8")

    def _point(self, *, last: str, best: str | None) -> None:
        """Write which checkpoints are last and best, then remove the others."""
        self.facts.update(last=last, best=best)
        self.save_facts()
        self._remove_superseded()

    def _remove_superseded(self) -> None:
        keep = {self.facts["best"], self.facts["last"]}
        for folder in self._checkpoints():
            if folder.name not in keep:
                remove_unless_held(folder)

    def _checkpoints(self) -> list[Path]:
        """The checkpoints, without other files that someone keeps beside them."""
        found = (self.path / CHECKPOINTS).glob("*")
        return [
            path for path in found if path.is_dir() and re.fullmatch(CHECKPOINT_NAME, path.name)
        ]


def read_events(file: Path) -> Iterator[dict[str, Any]]:
    """Read the events of metrics.jsonl, without a last line that a kill cut short.

    Raises:
        DamagedData: a line is no event.
    """
    if not file.exists():
        return
    whole, _, _ = file.read_text("utf-8", errors="replace").rpartition("\n")
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            event = json.loads(line)
            step = event["step"] if event["event"] in _OF_STEP else event.get("step", 0)
            if not isinstance(step, int):
                raise TypeError("step is no number")
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedData(
                f"line {number} of {file} is not an event: {line[:80]!r}", hint="delete the line"
            ) from error
        yield event


def _check_sha256(folder: Path, known: dict[str, str]) -> None:
    for name, expected in known.items():
        if (seen := sha256_of(folder / name)) != expected:
            raise CheckpointError(
                f"{name} was altered: its sha256 is {seen}, it was written with {expected}",
                hint="restore the checkpoint from a copy",
            )
