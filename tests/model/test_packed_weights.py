import pytest
import torch

from ogpt.model.decoder.packed_weights import PackedLinear, pack_weights
from tests.model.parity import random_model


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-2)])
@pytest.mark.parametrize("length", [1, 7, 40])
def test_a_packed_model_gives_the_same_logits(
    dtype: torch.dtype, tolerance: float, length: int
) -> None:
    model = random_model(3, n_positions=40).to(dtype)
    ids = torch.randint(0, model.config.vocab_size, (2, length))
    with torch.inference_mode():
        expected = model(ids).logits.float()
        packed = pack_weights(model)
        can = dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        assert isinstance(packed.lm_head, PackedLinear) == can
        found = packed(ids).logits.float()
    assert (found - expected).abs().max() < tolerance * expected.abs().max()


def test_what_onednn_cannot_pack_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    double = random_model(3).double()
    assert not isinstance(pack_weights(double).lm_head, PackedLinear)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not isinstance(pack_weights(random_model(3)).lm_head, PackedLinear)
