"""The training step in TensorFlow: what PyTorch's does, from the same weights and batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import torch

from ogpt import notices
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import CheckpointError
from ogpt.training.step import TrainStep, dropout_seed
from ogpt.training.tf_precision import set_threads, used_threads
from ogpt.training.tf_start import initialize
from ogpt.training.tf_step import TFTrainStep, _pass_seed
from ogpt.weights.model_weights import open_weights
from ogpt.weights.safetensors_file import open_safetensors, write_arrays
from tests.tf.steps import SETTINGS, batch, both
from tests.tf.twins import gap, tf_small

pytestmark = pytest.mark.slow


def losses(step: TrainStep, count: int, packed: bool = False, first: int = 0) -> list[float]:
    found = []
    for number in range(first, first + count):
        parts = [batch(2 * number, ignored=5, packed=packed), batch(2 * number + 1, packed=packed)]
        found.append(step.train(parts, number, 3e-3).loss)
    return found


def weights(step: TrainStep, folder: Path) -> dict[str, np.ndarray]:
    step.save(folder)
    stored = open_weights(folder)
    return {name: stored[name].data for name in stored}


@pytest.mark.parametrize(("compiled", "packed"), [(False, False), (False, True), (True, False)])
def test_the_first_20_losses_are_pytorchs(compiled: bool, packed: bool, tmp_path: Path) -> None:
    step, other = both(compiled=compiled)
    expected, found = losses(step, 20, packed), losses(other, 20, packed)
    assert np.abs(np.subtract(found, expected)).max() < 1e-4
    assert expected[-1] < expected[0]
    mine, its = weights(other, tmp_path / "tf"), weights(step, tmp_path / "torch")
    # a key's bias has no gradient but rounding, which Adam scales up
    names = [name for name in its if not name.endswith("c_attn.bias")]
    assert {name: far for name in names if (far := gap(mine[name], its[name], 0.1)) > 1e-3} == {}


@pytest.mark.parametrize("fault", [{"weight_decay": 1.0}, {"adam_beta1": 0.5}])
def test_planted_faults_show(fault: dict[str, float]) -> None:
    step, _ = both()
    _, other = both(replace(SETTINGS, **fault))
    assert np.abs(np.subtract(losses(step, 20), losses(other, 20))).max() > 1e-3


def test_both_drop_the_same_elements() -> None:
    step, other = both(pdrop=0.2)
    expected, found = losses(step, 4), losses(other, 4)
    assert np.abs(np.subtract(found, expected)).max() < 1e-4
    other.settings = replace(SETTINGS, seed=1)  # other elements
    assert abs(losses(other, 1)[0] - found[0]) > 1e-3
    for number in range(5):
        seed = dropout_seed(0, number, 1)
        torch.manual_seed(seed)
        assert _pass_seed(seed) == int(torch.randint(2**31, (), dtype=torch.int64))


def test_small_gradients_move_weights_as_in_pytorch(tmp_path: Path) -> None:
    """The place of epsilon shows: gradients are clipped to about its size."""
    step, other = both(replace(SETTINGS, clip_norm=1e-7, weight_decay=0.0))
    start = {name: array.copy() for name, array in weights(other, tmp_path).items()}
    losses(step, 1)
    losses(other, 1)
    expected, found = weights(step, tmp_path / "torch"), weights(other, tmp_path / "tf")
    moved = [expected[name] - start[name] for name in start]
    same = [found[name] - start[name] for name in start]
    assert (
        gap(np.concatenate([a.ravel() for a in same]), np.concatenate([a.ravel() for a in moved]))
        < 1e-2
    )


def test_a_run_moves_between_the_frameworks_at_a_checkpoint(tmp_path: Path) -> None:
    step, other = both()
    expected = losses(step, 8)
    begun, _ = both()
    losses(begun, 4)
    begun.save(tmp_path)
    other.load(tmp_path)
    assert np.abs(np.subtract(losses(other, 2, first=4), expected[4:6])).max() < 1e-4
    other.save(tmp_path)
    back, fresh = both()
    back.load(tmp_path)
    assert np.abs(np.subtract(losses(back, 2, first=6), expected[6:])).max() < 1e-4
    # moments that did not come along show
    fresh.optimizer.steps = 6
    fresh.model.load_arrays(open_weights(tmp_path))
    assert np.abs(np.subtract(losses(fresh, 2, first=6), expected[6:])).max() > 1e-4


def test_resuming_is_exact(tmp_path: Path) -> None:
    _, whole = both(pdrop=0.2)
    losses(whole, 2)
    whole.save(tmp_path)
    _, other = both(pdrop=0.2)
    other.load(tmp_path)
    assert losses(whole, 2, first=2) == losses(other, 2, first=2)


def test_evaluation_is_pytorchs_and_without_dropout() -> None:
    step, other = both(pdrop=0.3)
    part = batch(1, rows=3, ignored=4)
    expected, found = step.evaluate(part), other.evaluate(part)
    assert found.totals["loss"].count == expected.totals["loss"].count == 32
    assert found.totals["loss"].sum == pytest.approx(expected.totals["loss"].sum, rel=1e-5)
    assert found.predictions is None
    assert other.predict(part) is None


def test_clipping_and_norm_are_pytorchs() -> None:
    step, other = both()
    mine, its = other.train([batch(1)], 0, 0.0), step.train([batch(1)], 0, 0.0)
    assert mine.grad_norm == pytest.approx(its.grad_norm, rel=1e-4)
    assert mine.counts == its.counts


def test_a_loss_that_is_no_number_leaves_the_weights(tmp_path: Path) -> None:
    _, other = both()
    table = other.model.transformer.tokens_embed.embeddings
    broken = table.numpy()
    broken[3] = np.inf
    table.assign(broken)
    bias = other.stored["transformer.h.0.mlp.c_fc.bias"]
    before = bias.array().data.copy()
    result = other.train([batch(0)], 0, 0.1)
    assert not result.finite
    assert np.array_equal(bias.array().data, before)
    assert other.optimizer.steps == 0


def test_checkpoints_that_lack_something(tmp_path: Path) -> None:
    step, other = both()
    losses(step, 1)
    step.save(tmp_path)
    file = tmp_path / "resume" / "optimizer.safetensors"
    arrays = dict(open_safetensors(file))
    del arrays["exp_avg.transformer.h.0.ln_1.bias"]
    write_arrays(file, {name: arrays[name] for name in arrays})
    with pytest.raises(CheckpointError, match="lacks exp_avg"):
        other.load(tmp_path)


def test_nothing_to_predict_and_frozen_blocks() -> None:
    _, other = both()
    part = batch(0)
    nothing = Batch(part.ids, np.full_like(part.ids, IGNORED))
    assert other.train([nothing], 0, 0.0).loss == 0
    model = tf_small(n_layer=1)
    model.transformer.h[0].trainable = False
    frozen = TFTrainStep(type(other.objective)(model), SETTINGS, False)
    before = frozen.stored["transformer.h.0.ln_1.bias"].array().data.copy()
    frozen.train([part], 0, 0.1)
    assert not any(".h.0." in name for name in frozen.optimizer.trained)
    assert np.array_equal(frozen.stored["transformer.h.0.ln_1.bias"].array().data, before)


def test_initial_weights_follow_the_seed() -> None:
    arrays = []
    for seed in (0, 0, 1):
        model = tf_small(n_layer=1)
        tf.random.set_seed(seed + 5)  # of the caller
        initialize(model, seed)
        arrays.append(model.stored_variables()["transformer.h.0.mlp.c_fc.weight"].array().data)
    assert np.array_equal(arrays[0], arrays[1])
    assert not np.array_equal(arrays[0], arrays[2])
    assert 0.27 < arrays[0].std() < 0.33


def test_threads_are_taken_once() -> None:
    used = used_threads()
    with notices.collecting() as told:
        set_threads(TrainingSettings(threads=used))
        set_threads(TrainingSettings(threads=0))
        assert list(told) == []
        set_threads(TrainingSettings(threads=used + 3))
    assert [notice.kind for notice in told] == ["setting-without-effect"]
    assert used_threads() == used
