import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import CheckpointError
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.training.torch_objective import TorchLanguageModeling
from ogpt.training.torch_step import TorchTrainStep, make_adamw
from ogpt.weights.safetensors_file import open_safetensors, write_arrays

SETTINGS = TrainingSettings(threads=1, batch_size=4, micro_batch_size=2, precision="float32")


def model(seed: int = 0, pdrop: float = 0.0) -> OpenAIGPTLMHeadModel:
    torch.manual_seed(seed)
    return OpenAIGPTLMHeadModel(
        OpenAIGPTConfig(
            vocab_size=50,
            n_positions=12,
            n_embd=16,
            n_layer=2,
            n_head=2,
            embd_pdrop=pdrop,
            attn_pdrop=pdrop,
            resid_pdrop=pdrop,
        )
    )


def batch(seed: int, rows: int = 2, ignored: int = 0) -> Batch:
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, 50, (rows, 13))
    targets = ids[:, 1:].copy()
    targets[0, :ignored] = IGNORED
    return Batch(np.ascontiguousarray(ids[:, :-1]), targets)


def joined(*batches: Batch) -> Batch:
    return Batch(
        np.concatenate([b.ids for b in batches]), np.concatenate([b.targets for b in batches])
    )


def step_on(trained: OpenAIGPTLMHeadModel, settings: TrainingSettings = SETTINGS) -> TorchTrainStep:
    return TorchTrainStep(TorchLanguageModeling(trained), settings, False)


def summed(step: TorchTrainStep, part: Batch) -> float:
    return step.evaluate(part).totals["loss"].sum


def weights(step: TorchTrainStep) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in step.model.parameters()]


def test_micro_batches_weigh_tokens_not_batches() -> None:
    parts = [batch(1, ignored=10), batch(2)]
    whole, split = step_on(model()), step_on(model())
    one = whole.train([joined(*parts)], 0, 1e-2)
    two = split.train(parts, 0, 1e-2)
    assert two.counts["loss"] == one.counts["loss"] == 48 - 10
    assert two.loss == pytest.approx(one.loss, rel=1e-6)
    for mine, expected in zip(weights(split), weights(whole), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-4)
    mean_of_means = np.mean([step_on(model()).train([p], 0, 0.0).loss for p in parts])
    assert abs(mean_of_means - one.loss) > 1e-4  # what averaging batches would have given


def test_one_step_of_adamw_by_hand() -> None:
    """First step: m = g, v = g^2 after bias correction, so each weight moves by about lr."""
    settings = TrainingSettings(threads=1, precision="float32", weight_decay=0.1, clip_norm=0)
    step = step_on(model(), settings)
    before = dict(step.model.named_parameters())
    before = {name: p.detach().clone() for name, p in before.items()}
    step.train([batch(1)], 0, 1e-2)
    for name, parameter in step.model.named_parameters():
        grad = parameter.grad
        decayed = before[name] * (1 - 1e-2 * 0.1) if parameter.ndim > 1 else before[name]
        expected = decayed - 1e-2 * grad / (grad.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected, atol=1e-6, rtol=1e-4, msg=name)


def test_decay_is_on_matrices_only() -> None:
    groups = make_adamw(model(), SETTINGS).param_groups
    assert [group["weight_decay"] for group in groups] == [SETTINGS.weight_decay, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert all(p.ndim == 1 for p in groups[1]["params"])


def test_clipping_bounds_the_gradient() -> None:
    step = step_on(model(), TrainingSettings(threads=1, clip_norm=0.01))
    result = step.train([batch(1)], 0, 0.0)
    assert result.grad_norm > 0.01
    norm = math.sqrt(sum(float((p.grad**2).sum()) for p in step.model.parameters()))
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_a_step_is_a_function_of_its_number() -> None:
    """Dropout depends on (seed, step, micro-batch), not on the state of a generator."""
    losses = []
    for warm in (0, 3):
        step = step_on(model(pdrop=0.3))
        for _ in range(warm):
            torch.rand(5)
            step.train([batch(1)], 0, 0.0)
        losses.append([step.train([batch(1), batch(2)], number, 0.0).loss for number in (7, 8)])
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]


def test_training_leaves_torchs_generator_alone() -> None:
    step = step_on(model(pdrop=0.3))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    step.train([batch(1)], 0, 1e-3)
    assert torch.equal(torch.rand(3), expected)


def test_state_goes_round(tmp_path: Path) -> None:
    first, second = (step_on(model(seed)) for seed in (0, 1))
    for number in range(3):
        first.train([batch(number)], number, 1e-2)
    first.save(tmp_path)
    second.load(tmp_path)
    for step in (first, second):
        step.train([batch(9)], 3, 1e-2)
    for mine, expected in zip(weights(second), weights(first), strict=True):
        assert torch.equal(mine, expected)


def saved(folder: Path) -> TorchTrainStep:
    step = step_on(model())
    step.train([batch(0)], 0, 1e-2)
    step.save(folder)
    return step


def drop(file: Path, name: str) -> None:
    """Write the file again without one of its arrays."""
    arrays = dict(open_safetensors(file))
    del arrays[name]
    write_arrays(file, arrays)


@pytest.mark.parametrize(
    ("file", "name", "message"),
    [
        (
            "resume/optimizer.safetensors",
            "exp_avg_sq.transformer.h.0.ln_1.bias",
            r"lacks exp_avg_sq\.transformer\.h\.0",
        ),
        ("resume/optimizer.safetensors", "steps", "does not count its optimizer steps"),
        ("model.safetensors", "transformer.h.0.ln_1.bias", r"lacks the weight transformer\.h\.0"),
    ],
)
def test_a_state_without_a_part_is_refused(
    tmp_path: Path, file: str, name: str, message: str
) -> None:
    step = saved(tmp_path)
    drop(tmp_path / file, name)
    with pytest.raises(CheckpointError, match=message) as caught:
        step.load(tmp_path)
    assert "another checkpoint" in caught.value.hint


def test_moments_are_read_by_any_framework(tmp_path: Path) -> None:
    """docs/guides/checkpoints.md describes the file; only the safetensors package reads it here."""
    step = step_on(model(), dataclasses.replace(SETTINGS, clip_norm=0.0))
    step.train([batch(0)], 0, 1e-2)
    step.save(tmp_path)
    weights = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    state = safetensors.numpy.load_file(tmp_path / "resume" / "optimizer.safetensors")
    assert state.pop("steps") == 1
    assert set(state) == {f"{m}.{name}" for m in ("exp_avg", "exp_avg_sq") for name in weights}
    for name, parameter in step.model.named_parameters():
        grad = parameter.grad.numpy()
        assert state[f"exp_avg.{name}"].shape == weights[name].shape
        np.testing.assert_allclose(state[f"exp_avg.{name}"], 0.1 * grad, rtol=1e-5)
        np.testing.assert_allclose(state[f"exp_avg_sq.{name}"], 0.001 * grad**2, rtol=1e-4)


def test_a_step_that_is_not_finite_leaves_the_weights() -> None:
    broken = model()
    with torch.no_grad():
        broken.transformer.h[0].ln_1.weight[0] = math.nan
    step = step_on(broken)
    before = weights(step)
    result = step.train([batch(1)], 0, 1e-2)
    assert not result.finite
    for mine, expected in zip(weights(step), before, strict=True):
        assert torch.equal(mine.nan_to_num(), expected.nan_to_num())


def test_evaluation_has_no_dropout_and_counts_what_counts() -> None:
    step = step_on(model(pdrop=0.5))
    first = step.evaluate(batch(1, ignored=4)).totals["loss"]
    again = step.evaluate(batch(1, ignored=4)).totals["loss"]
    assert first == again
    assert first.count == 24 - 4
    assert step.model.training


def test_packed_documents_do_not_see_each_other() -> None:
    step = step_on(model())
    whole = batch(3, rows=1)
    documents = np.array([[0] * 5 + [1] * 7])
    alone = 0.0
    for part in (slice(0, 5), slice(5, 12)):
        alone += summed(step, Batch(whole.ids[:, part].copy(), whole.targets[:, part].copy()))
    packed = summed(step, dataclasses.replace(whole, documents=documents))
    assert packed == pytest.approx(alone, rel=1e-5)
    assert abs(summed(step, whole) - alone) > 1e-5


@pytest.mark.filterwarnings("ignore:this processor has no instructions for bfloat16")
def test_bfloat16_stays_close_to_float32() -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        settings = TrainingSettings(threads=1, precision=precision)
        step = step_on(model(), settings)
        for number in range(5):
            losses[precision] = step.train([batch(0)], number, 1e-2).loss
        assert all(p.dtype == torch.float32 for p in step.model.parameters())
        assert step.description["dtype"] == precision
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=2e-2)
    assert losses["bfloat16"] != losses["float32"]
