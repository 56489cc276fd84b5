import pytest
import torch
import torch.nn.functional as F

from ogpt.model import chunked_loss as loss_module
from ogpt.model.chunked_loss import summed_cross_entropy


@pytest.mark.parametrize("elements", [40, 1000, 2**25])
def test_equals_the_whole_cross_entropy(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_module, "CHUNK_ELEMENTS", elements)
    torch.manual_seed(0)
    hidden = torch.randn(37, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(40, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 40, (37,))
    targets[::5] = -100
    (3.0 * summed_cross_entropy(hidden, weight, targets)).backward()
    grads = hidden.grad, weight.grad
    hidden.grad = weight.grad = None
    expected = F.cross_entropy(hidden @ weight.t(), targets, reduction="sum")
    (3.0 * expected).backward()
    found = summed_cross_entropy(hidden, weight, targets)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(grads[0], hidden.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grads[1], weight.grad, rtol=1e-5, atol=1e-5)


def test_an_ignored_target_that_counted_would_be_caught() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(10, 8), torch.randn(40, 8)
    targets = torch.randint(0, 40, (10,))
    some = targets.clone()
    some[0] = -100
    assert summed_cross_entropy(hidden, weight, some) < summed_cross_entropy(
        hidden, weight, targets
    )


def test_nothing_counted_is_zero() -> None:
    hidden = torch.randn(4, 8, requires_grad=True)
    loss = summed_cross_entropy(hidden, torch.randn(9, 8), torch.full((4,), -100))
    loss.backward()
    assert loss == 0
    assert not hidden.grad.any()


def test_large_logits_stay_finite() -> None:
    hidden = torch.full((2, 4), 100.0)
    weight = torch.randn(5, 4) * 100
    assert torch.isfinite(summed_cross_entropy(hidden, weight, torch.tensor([0, 4])))
