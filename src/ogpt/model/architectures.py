"""The model classes by name. This file imports no PyTorch until a class is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ogpt.errors import BackendMissing

if TYPE_CHECKING:
    from ogpt.model.pretrained import OpenAIGPTPreTrainedModel


def model_class(name: str, purpose: str) -> type[OpenAIGPTPreTrainedModel]:
    """The class of one of `ogpt.weights.shapes.ARCHITECTURES`.

    Args:
        name: Class name.
        purpose: What needs the class, for the error.

    Raises:
        BackendMissing: PyTorch is not installed.
    """
    try:
        from ogpt.model.classification import OpenAIGPTForSequenceClassification
        from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
        from ogpt.model.heads import OpenAIGPTLMHeadModel
        from ogpt.model.lstm import LSTMModel
        from ogpt.model.transformer import OpenAIGPTModel
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"{purpose} needs PyTorch: {error}", hint="pip install 'ogpt[torch]'"
        ) from error
    classes: tuple[type[OpenAIGPTPreTrainedModel], ...] = (
        OpenAIGPTModel,
        LSTMModel,
        OpenAIGPTLMHeadModel,
        OpenAIGPTDoubleHeadsModel,
        OpenAIGPTForSequenceClassification,
    )
    return {one.__name__: one for one in classes}[name]
