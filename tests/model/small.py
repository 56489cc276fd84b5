"""Small models of all kinds with weights that matter, and what their tests share."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import collecting

Kind = type[OpenAIGPTPreTrainedModel]
KINDS: list[Kind] = [
    OpenAIGPTModel,
    OpenAIGPTLMHeadModel,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification,
]


def config(**changes: Any) -> OpenAIGPTConfig:
    return OpenAIGPTConfig(
        **{
            "vocab_size": 40,
            "n_positions": 16,
            "n_embd": 16,
            "n_layer": 2,
            "n_head": 4,
            "num_labels": 3,
            "initializer_range": 0.3,  # large enough that faults show
            **changes,
        }
    )


def small(
    kind: type[OpenAIGPTPreTrainedModel] = OpenAIGPTLMHeadModel, seed: int = 0, **changes: Any
) -> Any:
    """A model of any kind, in evaluation mode, whose biases and gains are not zero and one."""
    torch.manual_seed(seed)
    model = kind(config(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def draw_ids(*shape: int, seed: int = 0, vocab_size: int = 40) -> Tensor:
    return torch.randint(0, vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference; NaN is infinitely far."""
    far = (one.detach().double() - other.detach().double()).abs()
    return float(far.nan_to_num(nan=float("inf")).max())


def quietly(kind: Kind, folder: Path, **options: Any) -> Any:
    """A load without a notice."""
    with collecting() as notices:
        model = kind.from_pretrained(folder, **options)
    assert [notice.message for notice in notices] == []
    return model


def told(kind: Kind, folder: Path, **options: Any) -> tuple[Any, dict[str, Any], str]:
    """A load with exactly one notice: the model, its loading info, the notice."""
    with collecting() as notices:
        model, info = kind.from_pretrained(folder, output_loading_info=True, **options)
    assert [notice.kind for notice in notices] == ["weights-not-from-file"]
    assert info["error_msgs"] == []
    return model, info, notices[0].message
