"""One optimizer step in PyTorch: micro-batches, count-weighted losses, clipping, AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import Batch
from ogpt.model.evaluating import evaluating
from ogpt.model.tensors import array_of, tensor_of
from ogpt.training.cost import flops_per_token, training_memory_bytes
from ogpt.training.objective import Total, added_counts, means
from ogpt.training.optimizer_state import (
    MOMENTS,
    OptimizerState,
    open_optimizer,
    stored_weight,
    write_optimizer,
)
from ogpt.training.step import BatchResult, StepResult, dropout_seed
from ogpt.training.torch_objective import TorchObjective
from ogpt.training.torch_precision import best_matrix_product, choose_dtype, set_threads
from ogpt.weights.arrays import Array
from ogpt.weights.model_weights import open_weights

MakeOptimizer = Callable[[torch.nn.Module, TrainingSettings], torch.optim.Optimizer]
"""Makes the optimizer of a model. Its state has torch's names: step, exp_avg, exp_avg_sq."""


class TorchTrainStep:
    """A TrainStep on a PyTorch model, whose weights stay float32.

    Args:
        objective: What is learned, and the model that learns it. Weights that require no gradient
            are frozen.
        settings: Optimizer, precision, seed and threads.
        compiled: Whether to use torch.compile.
        shape: Of a micro-batch: its sequences, and the tokens of the longest. None: as many as the
            settings and the model allow.
        flops_for_token: Operations of training on one token; None: of language modeling.
        make_optimizer: None: make_adamw.
    """

    def __init__(
        self,
        objective: TorchObjective,
        settings: TrainingSettings,
        compiled: bool,
        *,
        shape: tuple[int, int] | None = None,
        flops_for_token: float | None = None,
        make_optimizer: MakeOptimizer | None = None,
    ) -> None:
        self.objective = objective
        self.settings = settings
        self.model = objective.model.train()
        threads = set_threads(settings)
        self.dtype = choose_dtype(settings.precision, self.model.device)
        self.narrow = self.dtype != torch.float32
        self.optimizer = (make_optimizer or make_adamw)(self.model, settings)
        if compiled:
            objective.compile()
        config = self.model.config
        rows, length = shape or (settings.micro_batch_size, config.n_positions)
        self.flops_per_token = flops_for_token or flops_per_token(config, length)
        self.peak_flops_per_s = best_matrix_product(self.dtype, self.model.device)
        self.memory_bytes = training_memory_bytes(config, rows, length, self.narrow)
        self.description: dict[str, str | int] = {
            "framework": f"torch {torch.__version__}",
            "device": str(self.model.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "compile": "on" if compiled else "off",
            "threads": threads,
        }

    def train(self, batches: Sequence[Batch], step: int, learning_rate: float) -> StepResult:
        """Take one optimizer step; see TrainStep."""
        # Counted before the first backward pass: each micro-batch is divided by the counts of all,
        # so the gradient is that of the whole batch, however it is cut.
        counts = added_counts(map(self.objective.counts, batches))
        device = self.model.device
        # Added on the device, in float64. Reading a sum per micro-batch would make the host wait
        # for the GPU each time, and leave the GPU idle until the next batch is queued.
        sums = {name: torch.zeros((), dtype=torch.float64, device=device) for name in counts}
        self.optimizer.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for part, batch in enumerate(batches):
                # Dropout depends on (seed, step, micro-batch) alone, not on the state of a
                # generator, so a resumed run repeats it without saving one.
                torch.manual_seed(dropout_seed(self.settings.seed, step, part))
                with self._autocast():
                    measured = self.objective.measure(batch).sums
                self._share_of_loss(measured, counts).backward()  # type: ignore[no-untyped-call]  # torch's own gap
                for name, total in measured.items():
                    sums[name] += total.detach()
        norm = torch.nn.utils.get_total_norm(
            [p.grad for p in self.model.parameters() if p.grad is not None]
        )
        *read, grad_norm = torch.stack([*sums.values(), norm.double()]).tolist()  # the one read
        totals = {name: Total(total, counts[name]) for name, total in zip(sums, read, strict=True)}
        result = StepResult(means(totals, self.objective.coefficients), grad_norm, counts)
        if result.finite:
            self._update(norm, learning_rate)
        return result

    @contextmanager
    def evaluation(self, *, narrow: bool = True) -> Iterator[None]:
        """Compute without dropout and gradients, in the dtype of training or in float32."""
        # Run eagerly: the last validation batch has another shape, and torch.compile would compile
        # again for it (docs/log.md, "One block is compiled").
        eager = torch.compiler.set_stance("force_eager")
        with torch.no_grad(), evaluating(self.model), eager, self._autocast(narrow):
            yield

    def evaluate(self, batch: Batch) -> BatchResult:
        """Compute the measures of one batch, without dropout; see TrainStep."""
        counts = self.objective.counts(batch)
        with self.evaluation():
            measured = self.objective.measure(batch)
        return BatchResult(
            {name: Total(total.item(), counts[name]) for name, total in measured.sums.items()},
            _as_array(measured.predictions),
        )

    def predict(self, batch: Batch) -> NDArray[Any] | None:
        """Compute the predictions of one batch alone, without dropout; see TrainStep."""
        with self.evaluation(narrow=False):  # as `ogpt evaluate` predicts
            return _as_array(self.objective.predict(batch))

    def save(self, folder: Path) -> None:
        """Write model folder and optimizer; see TrainStep."""
        self.model.save_pretrained(folder)
        moments: dict[str, Array] = {}
        steps = 0
        for name, parameter in self._trained():
            state = self.optimizer.state[parameter]
            steps = int(state["step"])
            moments |= {f"{moment}.{name}": array_of(state[moment]) for moment in MOMENTS}
        write_optimizer(folder, OptimizerState(steps, moments))

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Restore weights and moments; see TrainStep."""
        weights, optimizer = open_weights(folder), open_optimizer(folder)
        for name, parameter in self.model.named_parameters():
            # in place: compiled code holds its address
            parameter.copy_(tensor_of(stored_weight(weights, name)))
        for name, parameter in self._trained():
            state = {"step": torch.tensor(float(optimizer.steps))}
            for moment in MOMENTS:
                state[moment] = torch.empty_like(parameter)
                state[moment].copy_(tensor_of(optimizer.moment(moment, name)))
            self.optimizer.state[parameter] = state

    def _trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        """The weights that are not frozen, by name; tied ones once."""
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def _autocast(self, narrow: bool = True) -> torch.autocast:
        enabled = narrow and self.narrow
        dtype = self.dtype if enabled else None
        return torch.autocast(self.model.device.type, dtype, enabled=enabled)

    def _share_of_loss(self, sums: Mapping[str, Tensor], counts: Mapping[str, int]) -> Tensor:
        """What a micro-batch adds to the loss of the step, ()."""
        parts = [
            factor * sums[name] / max(1, counts[name])
            for name, factor in self.objective.coefficients.items()
        ]
        return torch.stack(parts).sum()

    def _update(self, norm: Tensor, learning_rate: float) -> None:
        """Clip the gradient, whose norm is known, and move the weights."""
        if self.settings.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(
                self.model.parameters(), self.settings.clip_norm, norm
            )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()


def _as_array(predictions: Tensor | None) -> NDArray[Any] | None:
    return None if predictions is None else predictions.float().cpu().numpy()


def make_adamw(model: torch.nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW with decoupled weight decay (paper, section 4.1; Loshchilov and Hutter 2019)."""
    # No decay on 1-D tensors: these are biases and LayerNorm gains, which the paper exempts
    # (section 4.1). Embeddings are 2-D, so they do decay.
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1]
    vectors = [p for p in trained if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,  # one kernel for all tensors; each is read and written once
    )
