"""What a fine-tuned model does, as its config.json stores it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.tasks.example import FAMILIES, Family, Problem

CONFIG_KEY = "ogpt_task"
"""Extra key of config.json; transformers keeps it."""

Recipe = Literal["paper", "2018-code"]
"""The paper's training, or that of the published code with its quirks (docs/fidelity.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task, without its data.

    Args:
        family: How texts become sequences.
        problem: What is predicted. Multiple choice is a single-label classification over choices.
        labels: Names of the classes in the order of their ids; empty for regression and choices.
        columns: Role of a text or of the label -> name of its column, for files of rows.
        metrics: Names of the measures of a table; the first one selects the best checkpoint.
        name: Of the task in the catalogue; "" for the user's own data.
        positive: The class whose F1 is meant, where a metric is F1 of one class; "" for none.
        recipe: How it was trained.
    """

    family: Family
    problem: Problem = "single_label_classification"
    labels: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("accuracy",)
    name: str = ""
    positive: str = ""
    recipe: Recipe = "paper"

    def write_to(self, config: OpenAIGPTConfig) -> None:
        """Store the task in a configuration, labels and problem type where transformers look."""
        if self.labels:
            config.id2label = dict(enumerate(self.labels))
            config.label2id = {name: index for index, name in enumerate(self.labels)}
        if self.family != "multiple-choice":
            config.problem_type = self.problem
        kept = asdict(self)
        kept.update({name: list(kept[name]) for name in ("labels", "metrics")})  # as JSON reads it
        setattr(config, CONFIG_KEY, kept)


def task_of(config: OpenAIGPTConfig, what: object) -> TaskSpec:
    """The task that a model was fine-tuned on.

    Args:
        config: Of the model.
        what: Where the model comes from, for the error.

    Raises:
        ConfigError: the configuration names no task, or one that this version does not know.
    """
    stored: Any = getattr(config, CONFIG_KEY, None)
    if stored is None:
        raise ConfigError(
            f"the model in {what} was not fine-tuned by ogpt: {CONFIG_KEY} is not in config.json",
            hint="fine-tune it first: ogpt finetune --model MODEL --family ... --train FILE",
        )
    known = {item.name for item in fields(TaskSpec)}
    if not isinstance(stored, dict) or stored.get("family") not in FAMILIES or {*stored} - known:
        raise ConfigError(
            f"{CONFIG_KEY} in the config.json of {what} is {stored!r}; allowed: the fields "
            f"{', '.join(sorted(known))}, with a family of {', '.join(FAMILIES)}",
            hint="restore config.json, or use the version of ogpt that wrote it",
        )
    lists = {name: tuple(stored.get(name, ())) for name in ("labels", "metrics")}
    return TaskSpec(**{**stored, **lists})
