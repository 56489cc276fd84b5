"""The folder of a run: settings, metrics, checkpoints; each checkpoint is a model folder.

RUN/config.toml                     the resolved settings
RUN/run.json                        which checkpoint is best and last, and facts of the run
RUN/metrics.jsonl                   the events of training, one a line
RUN/checkpoints/step-00001000/      config.json, model.safetensors, tokenizer files, card
RUN/checkpoints/step-00001000/resume/   what going on needs besides
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ogpt import notices
from ogpt.errors import CheckpointError, OutputExists
from ogpt.storage import whole_file, whole_folder, write_json
from ogpt.training.step import TrainStep
from ogpt.weights.safetensors_file import WEIGHTS_FILE, read_arrays, write_arrays

SETTINGS_FILE = "config.toml"
RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
_BEFORE_RUN = ("tokenizer", "shards", SETTINGS_FILE)  # written before run.json makes it a run
_STATE_FILE = "state.json"
_RESUME_FILE = "resume.safetensors"


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.facts = facts

    @classmethod
    def create(cls, path: Path, settings_toml: str) -> RunFolder:
        """Begin a run in a folder that holds none.

        Raises:
            OutputExists: the folder holds another run, or files that are no run's.
        """
        if (path / RUN_FILE).exists():
            raise OutputExists(
                f"{path} already holds a run",
                hint="go on with it by --resume, or choose another --out",
            )
        path.mkdir(parents=True, exist_ok=True)
        with whole_file(path / SETTINGS_FILE) as temporary:
            temporary.write_text(settings_toml, "utf-8")
        run = cls(path, {"format": 1, "best": None, "last": None, "finished": False})
        run.save_facts()
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a run that was begun.

        Raises:
            CheckpointError: run.json is damaged.
        """
        try:
            facts = json.loads((path / RUN_FILE).read_text("utf-8"))
            facts["best"], facts["last"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path / RUN_FILE} is damaged: {error!r}",
                hint="restore it from a copy, or start a new run from a checkpoint with --init",
            ) from error
        return cls(path, facts)

    @staticmethod
    def check_free(path: Path) -> None:
        """Check that a run may begin in `path`: not there, empty, or begun and cut short.

        Raises:
            OutputExists: it is a file, or holds other things.
        """
        if not path.exists():
            return
        names = [entry.name for entry in path.iterdir()] if path.is_dir() else [path.name]
        foreign = [name for name in names if name not in _BEFORE_RUN and not name.startswith(".")]
        if foreign:
            raise OutputExists(
                f"{path} is no run and holds {', '.join(sorted(foreign)[:5])}",
                hint="choose another --out, new or empty",
            )

    @staticmethod
    def is_run(path: Path) -> bool:
        """Whether a run was begun in the folder."""
        return (path / RUN_FILE).exists()

    def save_facts(self) -> None:
        """Write run.json."""
        write_json(self.path / RUN_FILE, self.facts)

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint after `step` optimizer steps."""
        return self.path / CHECKPOINTS / f"step-{step:08d}"

    def save(
        self,
        train_step: TrainStep,
        step: int,
        *,
        best: bool,
        state: dict[str, Any],
        add_files: Callable[[Path], None],
    ) -> Path:
        """Write a checkpoint, then point at it, then remove what is neither best nor last.

        A kill or a full disk at any moment leaves the checkpoints that run.json names whole.

        Raises:
            StorageError: the checkpoint could not be written.
        """
        target = self.checkpoint(step)
        best_name = target.name if best else self.facts["best"]
        with whole_folder(target) as folder:
            train_step.save_model(folder)
            add_files(folder)
            (folder / "resume").mkdir()
            write_arrays(folder / "resume" / _RESUME_FILE, train_step.resume_arrays())
            write_json(folder / "resume" / _STATE_FILE, {"step": step, "best": best_name, **state})
        self.facts.update(last=target.name, best=best_name)
        self.save_facts()
        self._remove_superseded()
        return target

    def load_last(self, train_step: TrainStep) -> dict[str, Any] | None:
        """Put the newest whole checkpoint into `train_step`; None if there is none yet.

        A checkpoint that is damaged is passed over with the notice `checkpoint-set-aside`.

        Raises:
            CheckpointError: there are checkpoints, but none is whole.
        """
        found = sorted(self._checkpoints(), reverse=True)
        for folder in found:
            try:
                state = json.loads((folder / "resume" / _STATE_FILE).read_text("utf-8"))
                step = int(state["step"])
                weights = read_arrays(folder / WEIGHTS_FILE)
                train_step.load_state(weights, read_arrays(folder / "resume" / _RESUME_FILE))
            except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
                notices.tell("checkpoint-set-aside", path=folder, reason=error)
                continue
            # a kill between the checkpoint and run.json leaves the checkpoint the better witness
            best = state.get("best")
            kept = best if best and (self.path / CHECKPOINTS / best).is_dir() else None
            self.facts.update(last=folder.name, best=kept)
            self.save_facts()
            return {**state, "step": step}
        if found or self.facts["last"]:
            raise CheckpointError(
                f"none of the {len(found)} checkpoints in {self.path} is whole; the last was "
                f"{self.facts['last']}",
                hint="restore one from a copy, or start a new run in another --out",
            )
        return None

    def cut_metrics(self, step: int) -> None:
        """Drop the events after `step`, which a resumed run reports again."""
        file = self.path / METRICS_FILE
        if not file.exists():
            return
        kept = []
        for line in file.read_text("utf-8").splitlines():
            try:
                if json.loads(line).get("step", 0) <= step:
                    kept.append(line + "\n")
            except ValueError:
                break  # the line that a kill cut short
        with whole_file(file) as temporary:
            temporary.write_text("".join(kept), "utf-8")

    def _remove_superseded(self) -> None:
        keep = {self.facts["best"], self.facts["last"]}
        for folder in self._checkpoints():
            if folder.name not in keep:
                shutil.rmtree(folder)

    def _checkpoints(self) -> list[Path]:
        """The checkpoints, and nothing else that somebody keeps beside them."""
        found = (self.path / CHECKPOINTS).glob("step-*")
        return [folder for folder in found if folder.is_dir() and folder.name[5:].isdecimal()]
