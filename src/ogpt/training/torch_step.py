"""One optimizer step in PyTorch: micro-batches, token-weighted loss, clipping, AdamW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import CheckpointError
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.tensors import array_of, tensor_of
from ogpt.training.cost import flops_per_token
from ogpt.training.step import StepResult
from ogpt.training.torch_precision import best_matrix_product, choose_dtype, set_threads
from ogpt.weights.arrays import Array

_MOMENTS = ("exp_avg", "exp_avg_sq")


class TorchTrainStep:
    """A TrainStep on an OpenAIGPTLMHeadModel, whose weights stay float32."""

    def __init__(
        self, model: OpenAIGPTLMHeadModel, settings: TrainingSettings, compiled: bool
    ) -> None:
        self.settings = settings
        self.threads = set_threads(settings)
        self.model = model.train()
        self.dtype = choose_dtype(settings.precision, model.device)
        self.optimizer = make_adamw(model, settings)
        if compiled:
            model.compile_training()
        self.flops_per_token = flops_per_token(model.config, model.config.n_positions)
        self.peak_flops_per_s = best_matrix_product(self.dtype, model.device)
        self.description: dict[str, str | int] = {
            "framework": f"torch {torch.__version__}",
            "device": str(model.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "compile": "on" if compiled else "off",
            "threads": self.threads,
        }

    def train(self, batches: Sequence[Batch], step: int, learning_rate: float) -> StepResult:
        """Take one optimizer step; see TrainStep."""
        tokens = sum(int((batch.targets != IGNORED).sum()) for batch in batches)
        self.optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            for part, batch in enumerate(batches):
                torch.manual_seed(_fold(self.settings.seed, step, part))
                share = self._loss(batch) / tokens
                share.backward()  # type: ignore[no-untyped-call]  # torch's own gap
                loss += share.item()
        norm = torch.nn.utils.get_total_norm(
            [p.grad for p in self.model.parameters() if p.grad is not None]
        )
        result = StepResult(loss, norm.item(), tokens)
        if not result.finite:
            return result
        if self.settings.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(
                self.model.parameters(), self.settings.clip_norm, norm
            )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return result

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> tuple[float, int]:
        """Summed loss and counted tokens of one batch, without dropout."""
        self.model.eval()
        try:
            with torch.compiler.set_stance("force_eager"):  # batches of any size, no dropout
                return self._loss(batch).item(), int((batch.targets != IGNORED).sum())
        finally:
            self.model.train()

    def save_model(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        self.model.save_pretrained(folder)

    def resume_arrays(self) -> dict[str, Array]:
        """The optimizer's moments by weight name, and the steps it has taken."""
        arrays = {}
        for name, parameter in self.model.named_parameters():
            state = self.optimizer.state[parameter]
            arrays["steps"] = Array("int64", np.array(int(state["step"])))
            for moment in _MOMENTS:
                arrays[f"{moment}.{name}"] = array_of(state[moment])
        return arrays

    def load_state(self, weights: Mapping[str, Array], resume: Mapping[str, Array]) -> None:
        """Take back weights and moments, into the memory that compiled code knows."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(_named(weights, name))
                state = {"step": torch.tensor(float(_named(resume, "steps").item()))}
                for moment in _MOMENTS:
                    state[moment] = torch.empty_like(parameter)
                    state[moment].copy_(_named(resume, f"{moment}.{name}"))
                self.optimizer.state[parameter] = state

    def _loss(self, batch: Batch) -> Tensor:
        device = self.model.device
        ids = torch.from_numpy(batch.ids).to(device)
        targets = torch.from_numpy(batch.targets).to(device)
        mask = positions = None
        if batch.documents is not None:
            documents = torch.from_numpy(batch.documents).to(device)
            mask = documents[:, :, None] == documents[:, None, :]  # (B, T, T)
            positions = torch.from_numpy(document_positions(batch.documents)).to(device)
        narrow = self.dtype != torch.float32
        with torch.autocast(device.type, self.dtype if narrow else None, enabled=narrow):
            return self.model.token_loss(ids, targets, mask, positions)


def document_positions(documents: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions that count from each document's start, (B, T), for documents (B, T)."""
    B, T = documents.shape
    index = np.broadcast_to(np.arange(T), (B, T))
    begins = np.ones((B, T), dtype=bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return np.ascontiguousarray(index - np.maximum.accumulate(np.where(begins, index, 0), axis=1))


def make_adamw(model: torch.nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW whose decay is decoupled and on matrices only (paper, section 4.1)."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )


def _fold(seed: int, step: int, part: int) -> int:
    """A seed for one micro-batch of one step, apart from all others."""
    return int(np.random.SeedSequence((seed, step, part)).generate_state(1, np.uint64)[0] >> 1)


def _named(arrays: Mapping[str, Array], name: str) -> Tensor:
    if name not in arrays:
        raise CheckpointError(
            f"the checkpoint lacks {name}", hint="resume from another checkpoint, or start anew"
        )
    return tensor_of(arrays[name])
