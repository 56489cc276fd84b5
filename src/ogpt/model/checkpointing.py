"""Gradient checkpointing: backward computes activations again instead of storing them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

from ogpt.errors import ConfigError


class GradientCheckpointing(nn.Module):
    """Gradient checkpointing of a network, and of the model around it."""

    supports_gradient_checkpointing: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self.checkpoint_options: dict[str, Any] = {"use_reentrant": False}
        self.checkpoint_every = 1
        """1 checkpoints every block, 2 every second one."""
        self.checkpoint_offload = False

    @property
    def base_model(self) -> GradientCheckpointing:
        """The network without its heads."""
        return self

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Save memory in training: backward recomputes each block's activations.

        It costs about a third more time: each block runs forward twice.

        Args:
            gradient_checkpointing_kwargs: For torch.utils.checkpoint, such as use_reentrant.
            every_n_layers: Checkpoint the first block and every n-th after it, 1 or more; the
                others store their activations.
            offload: Keep the inputs of checkpointed blocks in the memory of the CPU.

        Raises:
            ConfigError: every_n_layers below 1.
        """
        if type(every_n_layers) is not int or every_n_layers < 1:
            raise ConfigError(
                f"every_n_layers is {every_n_layers!r}; allowed: an integer, 1 or more",
                hint="use 1 to checkpoint every block",
            )
        base = self.base_model
        base.gradient_checkpointing = True
        base.checkpoint_options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        base.checkpoint_every = every_n_layers
        base.checkpoint_offload = offload

    def gradient_checkpointing_disable(self) -> None:
        """Store activations for backward again."""
        self.base_model.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether backward recomputes the blocks."""
        return self.base_model.gradient_checkpointing

    # the same by the names of transformers 5

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Enable gradient checkpointing; see gradient_checkpointing_enable."""
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, every_n_layers, offload)

    def activation_checkpointing_disable(self) -> None:
        """Disable gradient checkpointing."""
        self.gradient_checkpointing_disable()

    @property
    def is_activation_checkpointing(self) -> bool:
        """Whether backward recomputes the blocks."""
        return self.is_gradient_checkpointing

    def run_block(self, block: nn.Module, layer: int, x: Tensor, *given: Any) -> Tensor:
        """Run a block so that backward recomputes it, if it is one of those checkpointed.

        Args:
            block: A module from (N, T, C) to (N, T, C).
            layer: Its number.
            x: (N, T, C).
            *given: What the block takes besides.
        """
        if layer % self.checkpoint_every:
            out: Tensor = block(x, *given)
            return out
        stored = save_on_cpu(pin_memory=x.is_cuda) if self.checkpoint_offload else nullcontext()
        with stored:  # keep only the block's input; backward computes the rest again
            out = checkpoint(block, x, *given, **self.checkpoint_options)
        return out
