"""The configuration of a fine-tuned model, and which of its weights are transferred.

Paper, section 3.2: the only new parameters are the head's and the embeddings of the three tokens.
"""

from __future__ import annotations

import re

from ogpt.config.finetune_settings import FinetuneSection
from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tokens.bpe_tokenizer import BPETokenizer

_BLOCK = re.compile(r"\bh\.(\d+)\.")


def task_config(
    config: OpenAIGPTConfig, spec: TaskSpec, tokenizer: BPETokenizer, settings: FinetuneSection
) -> OpenAIGPTConfig:
    """The configuration of the fine-tuned model.

    Args:
        config: Of the model to start from; it is not changed.
        spec: The task.
        tokenizer: With the task tokens.
        settings: Dropout rates and frozen_layers.

    Raises:
        ConfigError: more frozen layers than the model has.
    """
    made = config.copy()
    made.embd_pdrop = made.attn_pdrop = made.resid_pdrop = settings.dropout
    made.vocab_size = max(config.vocab_size, len(tokenizer))
    made.pad_token_id = tokenizer.pad_token_id
    made.num_labels = max(1, len(spec.labels))
    spec.write_to(made)
    if spec.family == "multiple-choice":
        made.summary_type = "cls_index"
        made.summary_use_proj = made.summary_proj_to_labels = True
        made.summary_activation = None
        made.summary_first_dropout = settings.classifier_dropout
    # of choices a bias is the same and cancels in their softmax
    made.classifier_bias = settings.recipe == "2018-code" and spec.family != "multiple-choice"
    setattr(made, TOKENIZER_FINGERPRINT, tokenizer.fingerprint)
    made.check()
    if settings.frozen_layers > made.n_layer:
        raise ConfigError(
            f"finetune.frozen_layers is {settings.frozen_layers}; allowed: 0 to {made.n_layer}, "
            "the layers of the model",
            hint="freeze fewer layers",
        )
    return made


def transferred(name: str, n_transfer: int) -> bool:
    """Whether a weight of the transformer starts from the pre-trained model.

    Args:
        name: Of the weight.
        n_transfer: Number of blocks that do, from the first one on.
    """
    block = _BLOCK.search(name)
    return block is None or int(block[1]) < n_transfer
