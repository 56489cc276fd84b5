"""What holds on a CPU holds on a GPU; skipped where there is none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import Batch
from ogpt.decoding.choice import open_decoder
from ogpt.training.torch_objective import TorchLanguageModeling
from ogpt.training.torch_precision import choose_device
from ogpt.training.torch_step import TorchTrainStep
from tests.decoding.calls import extend, step
from tests.model.parity import random_batch, random_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("seed", range(6))
def test_logits_equal_the_cpus(seed: int) -> None:
    model = random_model(seed)
    ids, mask = random_batch(seed, model.config)
    expected = model(ids, attention_mask=mask).logits
    found = model.cuda()(ids.cuda(), attention_mask=mask.cuda()).logits.cpu()
    assert ((found - expected).abs() * mask[..., None]).max() < 1e-3 * expected.abs().max()


@pytest.mark.parametrize(("precision", "limit"), [("float32", 1e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch 2.11, of itself
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")  # float32 is meant
def test_a_training_step_equals_the_cpus(precision: str, limit: float, compiled: bool) -> None:
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 50, (4, 33))
    batch = Batch(np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:]))
    changes = {"vocab_size": 50, "n_positions": 32, "n_embd": 64, "n_head": 2}
    settings = TrainingSettings(threads=1, precision=precision)
    losses = []
    for device in ("cpu", "cuda"):
        model = random_model(1, **changes, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
        step = TorchTrainStep(
            TorchLanguageModeling(model.to(device)), settings, compiled and device == "cuda"
        )
        losses.append([step.train([batch], number, 1e-3).loss for number in range(5)])
    assert losses[1] == pytest.approx(losses[0], rel=limit)


def test_a_step_with_dropout_is_a_function_of_its_number() -> None:
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 50, (4, 33))
    batch = Batch(np.ascontiguousarray(ids[:, :-1]), np.ascontiguousarray(ids[:, 1:]))
    model = random_model(1, vocab_size=50, n_positions=32, n_embd=64, n_head=2)
    step = TorchTrainStep(TorchLanguageModeling(model.cuda()), TrainingSettings(threads=1), False)
    first = step.train([batch], 3, 0.0).loss
    torch.rand(9, device="cuda")
    assert step.train([batch], 3, 0.0).loss == pytest.approx(first, rel=1e-5)
    assert choose_device().type == "cuda"


def test_the_decoder_on_a_gpu(tmp_path: Path) -> None:
    model = random_model(2, n_positions=20)
    model.save_pretrained(tmp_path)
    ids = list(range(5)) * 2
    expected = model(torch.tensor([ids])).logits[0, -1].detach().numpy()
    decoder = open_decoder(tmp_path, dtype="float32", slots=2)
    extend(decoder, 1, ids[:4])
    extend(decoder, 1, ids[4:9])
    found = step(decoder, [1], ids[9:])[0]
    assert abs(found - expected).max() < 1e-3 * abs(expected).max()
