"""What all models share: initial weights, and model folders in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import WeightsError
from ogpt.model.tensors import array_of, tensor_of
from ogpt.weights.names import PREFIX, normalise
from ogpt.weights.safetensors_file import WEIGHTS_FILE, read_arrays, write_arrays


class OpenAIGPTPreTrainedModel(nn.Module):
    """Base of the GPT-1 models."""

    base_model_prefix: ClassVar[str] = PREFIX

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        config.check()
        self.config = config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    def post_init(self) -> None:
        """Draw initial weights: N(0, initializer_range), biases zero, gains one (paper 4.1)."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("bias"):
                    parameter.zero_()
                elif parameter.ndim == 1:  # gain of a layer norm
                    parameter.fill_(1.0)
                else:
                    parameter.normal_(0.0, self.config.initializer_range)

    def num_parameters(self) -> int:
        """Weights, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        found: nn.Embedding = self.get_submodule(
            "tokens_embed" if hasattr(self, "tokens_embed") else f"{PREFIX}.tokens_embed"
        )  # type: ignore[assignment]  # by its name
        return found

    def resize_token_embeddings(self, new_num_tokens: int) -> nn.Embedding:
        """Change the rows of the token embedding and of a tied head, and config.vocab_size.

        New rows are the mean of the old ones, so that no new token is likelier than a common one.
        The configuration is a copy: another model built from it is not changed.

        Args:
            new_num_tokens: Rows, 1 or more.

        Raises:
            ConfigError: fewer than 1.
        """
        config = type(self.config).from_dict(self.config.to_dict())
        config.vocab_size = new_num_tokens
        config.check()
        embedding = self.get_input_embeddings()
        embedding.weight = resized(embedding.weight, new_num_tokens)
        embedding.num_embeddings = new_num_tokens
        for module in self.modules():
            if isinstance(module, OpenAIGPTPreTrainedModel):
                module.config = config
        self.tie_weights()
        return embedding

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors, which transformers loads as they are."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        saved = OpenAIGPTConfig.from_dict(self.config.to_dict())
        saved.architectures = [type(self).__name__]
        saved.save_pretrained(folder)
        write_arrays(
            folder / WEIGHTS_FILE,
            {name: array_of(tensor) for name, tensor in self.stored_tensors().items()},
        )

    def stored_tensors(self) -> dict[str, Tensor]:
        """The tensors that a file holds, by name: tied ones once."""
        return {name: tensor.detach() for name, tensor in self.named_parameters()}

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, dtype: torch.dtype | None = None, device: str = "cpu"
    ) -> Self:
        """Load a model folder, in evaluation mode.

        Args:
            folder: Holds config.json and model.safetensors.
            dtype: Of the weights; None: as stored.
            device: Where to put them.

        Raises:
            CheckpointError: no model folder, or a damaged one.
            WeightsError: weights missing, left over or of another shape.
        """
        config = OpenAIGPTConfig.from_pretrained(folder)
        with torch.device("meta"):
            model = cls(config)
        model.load_arrays(read_arrays(Path(folder) / WEIGHTS_FILE), dtype, device)
        return model.eval()

    def load_arrays(
        self, arrays: Any, dtype: torch.dtype | None = None, device: str = "cpu"
    ) -> None:
        """Take the weights from named arrays, with or without the `transformer.` prefix.

        Raises:
            WeightsError: weights missing, left over or of another shape.
        """
        wanted = self.stored_tensors()
        has_prefix = any(name.startswith(PREFIX + ".") for name in wanted)
        found = normalise(arrays, has_prefix, tied="lm_head.weight" not in wanted)
        missing = sorted(set(wanted) - set(found))
        extra = sorted(set(found) - set(wanted))
        if missing or extra:
            raise WeightsError(
                f"the weights do not fit: missing {missing or 'none'}, left over {extra or 'none'}",
                hint="check that config.json and the weights file belong together",
            )
        state = {}
        for name, array in found.items():
            tensor = tensor_of(array)
            if tensor.shape != wanted[name].shape:
                raise WeightsError(
                    f"{name} has shape {tuple(tensor.shape)}; "
                    f"the configuration asks for {tuple(wanted[name].shape)}",
                    hint="check that config.json and the weights file belong together",
                )
            state[name] = tensor.to(device=device, dtype=dtype, copy=True)
        self.load_state_dict(state, assign=True, strict=False)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Make tied weights one again after loading; models without a tied head have none."""


def resized(weight: Tensor, rows: int) -> nn.Parameter:
    """The first `rows` rows of a weight (V, C), and their mean for those that it has not."""
    with torch.no_grad():
        mean = weight.mean(0, keepdim=True).expand(max(0, rows - len(weight)), -1)
        return nn.Parameter(torch.cat([weight[:rows], mean]))
