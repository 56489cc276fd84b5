import math

import numpy as np
import pytest
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import CheckpointError
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.tensors import array_of
from ogpt.training.torch_step import TorchTrainStep, document_positions, make_adamw

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


def weights(step: TorchTrainStep) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in step.model.parameters()]


def test_micro_batches_weigh_tokens_not_batches() -> None:
    parts = [batch(1, ignored=10), batch(2)]
    whole, split = (TorchTrainStep(model(), SETTINGS, False) for _ in range(2))
    one = whole.train([joined(*parts)], 0, 1e-2)
    two = split.train(parts, 0, 1e-2)
    assert two.tokens == one.tokens == 48 - 10
    assert two.loss == pytest.approx(one.loss, rel=1e-6)
    for mine, expected in zip(weights(split), weights(whole), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-4)
    mean_of_means = np.mean(
        [TorchTrainStep(model(), SETTINGS, False).train([p], 0, 0.0).loss for p in parts]
    )
    assert abs(mean_of_means - one.loss) > 1e-4  # what averaging batches would have given


def test_one_step_of_adamw_by_hand() -> None:
    """First step: m = g, v = g^2 after bias correction, so each weight moves by about lr."""
    settings = TrainingSettings(threads=1, precision="float32", weight_decay=0.1, clip_norm=0)
    step = TorchTrainStep(model(), settings, False)
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
    step = TorchTrainStep(model(), TrainingSettings(threads=1, clip_norm=0.01), False)
    result = step.train([batch(1)], 0, 0.0)
    assert result.grad_norm > 0.01
    norm = math.sqrt(sum(float((p.grad**2).sum()) for p in step.model.parameters()))
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_a_step_is_a_function_of_its_number() -> None:
    """Dropout is drawn from (seed, step, micro-batch), not from a generator that runs on."""
    losses = []
    for warm in (0, 3):
        step = TorchTrainStep(model(pdrop=0.3), SETTINGS, False)
        for _ in range(warm):
            torch.rand(5)
            step.train([batch(1)], 0, 0.0)
        losses.append([step.train([batch(1), batch(2)], number, 0.0).loss for number in (7, 8)])
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[0][1]


def test_training_leaves_torchs_generator_alone() -> None:
    step = TorchTrainStep(model(pdrop=0.3), SETTINGS, False)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    step.train([batch(1)], 0, 1e-3)
    assert torch.equal(torch.rand(3), expected)


def test_state_goes_round() -> None:
    first, second = (TorchTrainStep(model(seed), SETTINGS, False) for seed in (0, 1))
    for number in range(3):
        first.train([batch(number)], number, 1e-2)
    arrays = first.resume_arrays()
    stored = {name: array_of(p) for name, p in first.model.named_parameters()}
    second.load_state(stored, arrays)
    for step in (first, second):
        step.train([batch(9)], 3, 1e-2)
    for mine, expected in zip(weights(second), weights(first), strict=True):
        assert torch.equal(mine, expected)


def test_a_state_without_a_moment_is_refused() -> None:
    step = TorchTrainStep(model(), SETTINGS, False)
    step.train([batch(0)], 0, 1e-2)
    arrays = step.resume_arrays()
    del arrays["exp_avg_sq.transformer.h.0.ln_1.bias"]
    stored = {name: array_of(p) for name, p in step.model.named_parameters()}
    with pytest.raises(CheckpointError, match=r"lacks exp_avg_sq\.transformer\.h\.0") as caught:
        step.load_state(stored, arrays)
    assert "another checkpoint" in caught.value.hint


def test_a_step_that_is_not_finite_leaves_the_weights() -> None:
    broken = model()
    with torch.no_grad():
        broken.transformer.h[0].ln_1.weight[0] = math.nan
    step = TorchTrainStep(broken, SETTINGS, False)
    before = weights(step)
    result = step.train([batch(1)], 0, 1e-2)
    assert not result.finite
    for mine, expected in zip(weights(step), before, strict=True):
        assert torch.equal(mine.nan_to_num(), expected.nan_to_num())


def test_evaluation_has_no_dropout_and_counts_what_counts() -> None:
    step = TorchTrainStep(model(pdrop=0.5), SETTINGS, False)
    first, tokens = step.evaluate(batch(1, ignored=4))
    again, _ = step.evaluate(batch(1, ignored=4))
    assert first == again
    assert tokens == 24 - 4
    assert step.model.training


def test_packed_documents_do_not_see_each_other() -> None:
    step = TorchTrainStep(model(), SETTINGS, False)
    whole = batch(3, rows=1)
    documents = np.array([[0] * 5 + [1] * 7])
    alone = 0.0
    for part in (slice(0, 5), slice(5, 12)):
        alone += step.evaluate(Batch(whole.ids[:, part].copy(), whole.targets[:, part].copy()))[0]
    packed, _ = step.evaluate(whole._replace(documents=documents))
    assert packed == pytest.approx(alone, rel=1e-5)
    assert abs(step.evaluate(whole)[0] - alone) > 1e-5


def test_positions_count_from_each_documents_start() -> None:
    documents = np.array([[0, 0, 1, 1, 1, -1], [0, 1, 1, 2, -1, -1]])
    expected = [[0, 1, 0, 1, 2, 0], [0, 0, 1, 0, 0, 1]]
    assert document_positions(documents).tolist() == expected


@pytest.mark.filterwarnings("ignore:this processor has no instructions for bfloat16")
def test_bfloat16_stays_close_to_float32() -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        settings = TrainingSettings(threads=1, precision=precision)
        step = TorchTrainStep(model(), settings, False)
        for number in range(5):
            losses[precision] = step.train([batch(0)], number, 1e-2).loss
        assert all(p.dtype == torch.float32 for p in step.model.parameters())
        assert step.description["dtype"] == precision
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=2e-2)
    assert losses["bfloat16"] != losses["float32"]
