"""A task of lm-evaluation-harness: which ending a text has."""

import datasets

ROWS = [
    {"text": "the sea was", "choices": ["calm", "small", "the old man"], "label": 0},
    {"text": "a small boat", "choices": ["on the calm sea", "was happy"], "label": 0},
    {"text": "the old man", "choices": ["calm boat", "and the sea"], "label": 1},
    {"text": "", "choices": ["he was very happy", "sea"], "label": 0},
]
TASK = {
    "task": "endings",
    "custom_dataset": lambda **_: {"test": datasets.Dataset.from_list(ROWS)},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "text",
    "doc_to_choice": "choices",
    "doc_to_target": "label",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
