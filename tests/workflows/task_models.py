"""Small fine-tuned models of every family, with random weights."""

import torch

import ogpt
from ogpt.notices import collecting
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tasks.task_tokens import add_task_tokens
from tests.tasks.small import tokenizer

SHAPE = {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
SPECS = {
    "classes": TaskSpec(family="classification", labels=("bad", "good"), metrics=("accuracy",)),
    "several": TaskSpec(
        family="classification",
        problem="multi_label_classification",
        labels=("x", "y"),
        metrics=("micro_f1",),
    ),
    "pairs": TaskSpec(family="entailment", labels=("no", "yes"), metrics=("accuracy", "f1")),
    "scores": TaskSpec(family="similarity", problem="regression", metrics=("pearson",)),
    "choices": TaskSpec(family="multiple-choice", metrics=("accuracy",)),
}


def make(name, folder, bias=0.0):
    """A model folder for a task, with random weights."""
    spec, words = SPECS[name], tokenizer()
    add_task_tokens(words)
    torch.manual_seed(1)
    config = ogpt.OpenAIGPTConfig(vocab_size=len(words), initializer_range=0.4, **SHAPE)
    config.num_labels = max(1, len(spec.labels))
    config.classifier_bias = bool(bias)
    config.pad_token_id = words.pad_token_id
    spec.write_to(config)
    choices = spec.family == "multiple-choice"
    kind = ogpt.OpenAIGPTDoubleHeadsModel if choices else ogpt.OpenAIGPTForSequenceClassification
    model = kind(config)
    if bias:
        head = model.multiple_choice_head.summary if choices else model.score
        torch.nn.init.constant_(head.bias, bias)
    with collecting():  # transformers ignores the bias of a classifier
        model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
