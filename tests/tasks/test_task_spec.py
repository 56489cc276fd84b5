"""A task is stored in config.json, and read back as it was."""

import pytest

import ogpt
from ogpt.errors import ConfigError
from ogpt.tasks.task_spec import CONFIG_KEY, TaskSpec, task_of


def config_of(spec: TaskSpec) -> ogpt.OpenAIGPTConfig:
    config = ogpt.OpenAIGPTConfig(n_layer=1)
    spec.write_to(config)
    return config


def test_a_task_passes_through_config_json(tmp_path):
    spec = TaskSpec(
        family="entailment",
        labels=("no", "yes"),
        columns={"premise": "text a", "label": "gold"},
        metrics=("accuracy", "f1"),
        name="rte",
    )
    config_of(spec).save_pretrained(tmp_path)
    config = ogpt.OpenAIGPTConfig.from_pretrained(tmp_path)
    assert task_of(config, tmp_path) == spec
    assert config.id2label == {0: "no", 1: "yes"}
    assert config.problem_type == "single_label_classification"


def test_a_model_without_a_task_is_named():
    with pytest.raises(ConfigError, match="the model in here was not fine-tuned") as error:
        task_of(ogpt.OpenAIGPTConfig(), "here")
    assert "ogpt finetune" in error.value.hint


@pytest.mark.parametrize("stored", ["x", {"family": "poetry"}, {"family": "similarity", "new": 1}])
def test_a_task_of_another_version_is_refused(stored):
    config = ogpt.OpenAIGPTConfig(**{CONFIG_KEY: stored})
    with pytest.raises(ConfigError, match=r"ogpt_task in the config.json of here is") as error:
        task_of(config, "here")
    assert "version" in error.value.hint
