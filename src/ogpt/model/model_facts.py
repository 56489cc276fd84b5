"""What training tools ask about a model: its size, its memory, its tags, the inputs it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ogpt.model.checkpointing import GradientCheckpointing


class ModelFacts(GradientCheckpointing):
    """Facts about a model, by the names of transformers."""

    framework: ClassVar[str] = "pt"
    main_input_name: ClassVar[str] = "input_ids"
    is_parallelizable: ClassVar[bool] = False  # over the devices of one process
    # transformers' Trainer passes num_items_in_batch where this is True, and counts the labels of
    # a language model from the second one on where loss_type says that it shifts them
    accepts_loss_kwargs: ClassVar[bool] = False
    loss_type: ClassVar[str | None] = None
    model_tags: list[str] | None = None
    """Tags of the model card that push_to_hub writes."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return next(self.parameters()).dtype

    @classmethod
    def can_generate(cls) -> bool:
        """Whether the model has `generate`: it has a language-model head."""
        return hasattr(cls, "generate")

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Number of weights; tied ones count once.

        Args:
            only_trainable: Do not count frozen weights.
            exclude_embeddings: Do not count embeddings, nor a head that is tied to one.
        """
        tables = [each for each in self.modules() if isinstance(each, nn.Embedding)]
        left_out = {id(table.weight) for table in tables} if exclude_embeddings else set()
        return sum(
            weight.numel()
            for weight in self.parameters()
            if id(weight) not in left_out and (weight.requires_grad or not only_trainable)
        )

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Bytes of the weights; tied ones count once.

        Args:
            return_buffers: Count buffers too, such as those of adapters: GPT-1 has none.
        """
        buffers = self.buffers() if return_buffers else ()
        return sum(each.numel() * each.element_size() for each in chain(self.parameters(), buffers))

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """Number of tokens of a batch, padding included; 0 without input_ids.

        Args:
            input_dict: The arguments of forward.
        """
        ids = input_dict.get(self.main_input_name)
        return ids.numel() if isinstance(ids, Tensor) else 0

    def floating_point_ops(
        self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True
    ) -> int:
        """Estimate of the operations of a training step: 6 for each token and weight.

        Attention's products of queries and keys are left out (Kaplan et al. 2020, "Scaling Laws
        for Neural Language Models", section 2.1).

        Args:
            input_dict: The arguments of forward.
            exclude_embeddings: Do not count embeddings, which are looked up.
        """
        tokens = self.estimate_tokens(input_dict)
        return 6 * tokens * self.num_parameters(exclude_embeddings=exclude_embeddings)

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Arguments of forward that every model takes: 3 rows of 5 tokens."""
        return {"input_ids": torch.zeros(3, 5, dtype=torch.int64, device=self.device)}

    def get_parameter_or_buffer(self, target: str) -> Tensor:
        """A weight or a buffer by its name.

        Raises:
            AttributeError: there is none (torch's own error).
        """
        buffers = dict(self.named_buffers())
        return buffers[target] if target in buffers else self.get_parameter(target)

    def add_model_tags(self, tags: str | Iterable[str]) -> None:
        """Add tags to the model card that push_to_hub writes; each once.

        Args:
            tags: One or several.
        """
        more = [tags] if isinstance(tags, str) else tags
        self.model_tags = list(dict.fromkeys([*(self.model_tags or ()), *more]))
