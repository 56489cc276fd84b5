"""The switches of config.parity: generate() of 4.57.6, all of 5.23, and the code of 2018."""

import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt.config.parity import PARITY
from ogpt.errors import UnknownArgument
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import OgptNotice
from tests.golden import run_2018
from tests.model.golden import answers, arguments, distance, golden_model, recorded
from tests.model.parity import TOLERANCE, Case, gaps, random_model, theirs
from tests.model.parity_cases import sizes

# generate() of transformers 4.57.6

GENERATED = ["default_length", "unpadded", "left", "beams"]


def generated(framework: str, case: str, parity: str, **changes: Any) -> Any:
    model = golden_model(framework, "lm_long", parity=parity)
    given = {**arguments(framework, "lm_long", case), **changes}
    settings = recorded(framework)["lm_long"]["cases"][case]["generate"]
    shown = {"return_dict_in_generate": True, "output_scores": True}
    return model.generate(**given, **settings, **shown)


def assert_as_recorded(out: Any, framework: str, case: str) -> None:
    expected = answers(framework, "lm_long", case)
    assert torch.equal(out.sequences, expected["sequences"])
    for ours, recorded_scores in zip(out.scores, expected["scores"], strict=True):
        assert distance(ours.double(), recorded_scores.double()) < TOLERANCE
    if "sequences_scores" in expected:
        assert distance(out.sequences_scores, expected["sequences_scores"].double()) < TOLERANCE


@pytest.mark.parametrize("case", GENERATED)
def test_generate_of_transformers_4(case: str) -> None:
    assert_as_recorded(generated("pytorch", case, "transformers-4"), "pytorch", case)


@pytest.mark.parametrize("case", GENERATED)
def test_generate_of_tensorflow(case: str) -> None:
    """Its generate() drops the mask, so that padding is read as text: a mask of ones says so."""
    given = arguments("tensorflow", "lm_long", case)["input_ids"]
    out = generated("tensorflow", case, "transformers-4-tf", attention_mask=torch.ones_like(given))
    assert_as_recorded(out, "tensorflow", case)


@pytest.mark.parametrize("parity", ["ogpt", "transformers-5"])
def test_generate_counts_no_padding(parity: str) -> None:
    """4.57.6 moved the text by its padding; ours and version 5 do not."""
    alone, padded = generated("pytorch", "unpadded", parity), generated("pytorch", "left", parity)
    assert torch.equal(padded.sequences[0, 2:], alone.sequences[0])
    for ours, other in zip(padded.scores, alone.scores, strict=True):
        assert distance(ours[0], other[0]) < TOLERANCE
    for framework in ("pytorch", "tensorflow"):
        expected = answers(framework, "lm_long", "left")["sequences"]
        assert not torch.equal(padded.sequences[0], expected[0])


def test_default_lengths() -> None:
    for parity, length in (("ogpt", 23), ("transformers-4", 23), ("transformers-4-tf", 20)):
        assert generated("pytorch", "default_length", parity).sequences.shape == (1, length)


# transformers 5.23, which is installed


def five(seed: int, **changes: Any) -> Case:
    """A language model and any mask, a row masked whole and the padding compared, too."""
    draw = random.Random(f"five {seed}")
    model = random_model(seed, OpenAIGPTLMHeadModel, **sizes(draw), **changes)
    B, T = draw.randint(1, 4), draw.randint(2, model.config.n_positions)
    mask = (torch.rand(B, T) < draw.choice([0.2, 0.6])).long()
    if draw.random() < 0.5:
        mask[0] = 0
    if draw.random() < 0.5:
        mask = (torch.arange(T) >= torch.randint(0, T, (B, 1))).long()
    given = {"input_ids": torch.randint(0, model.config.vocab_size, (B, T))}
    given |= {"attention_mask": mask, "labels": given["input_ids"]}
    given |= {"output_attentions": True, "output_hidden_states": True}
    return Case(model, given, given, torch.ones(B, T, dtype=torch.bool))


@pytest.mark.parametrize("seed", range(20))
def test_every_row_of_transformers_5(seed: int) -> None:
    case = five(seed, parity="transformers-5")
    found = gaps(case, theirs(case.model))
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("seed", range(5))
def test_scores_beyond_1e4_of_transformers_5(seed: int) -> None:
    """There rounding is all there is to a softmax, so in float64 (their loss is in float32)."""
    case = five(seed, parity="transformers-5")
    case.model.double()
    with torch.no_grad():
        for block in case.model.transformer.h:
            block.attn.c_attn.weight.mul_(300)
        shown, other = case.model(**case.ours), theirs(case.model)(**case.theirs)
        ours = five(seed)
        ours.model.load_state_dict(case.model.state_dict())
        sealed = ours.model.double()(**ours.ours)
    for mine, their in zip(shown.attentions, other.attentions, strict=True):
        assert (mine - their).abs().max() < 1e-6
    assert distance(shown.logits, other.logits) < 1e-6
    assert not any(layer.triu(1).any() for layer in sealed.attentions)
    assert distance(sealed.logits, other.logits) > 0.1


def test_without_the_switch_rows_of_transformers_5_differ() -> None:
    for seed in range(20):
        case = five(seed)
        if not case.ours["attention_mask"].all():
            assert max(gaps(case, theirs(case.model)).values()) > 100 * TOLERANCE


@pytest.mark.parametrize("seed", range(4))
def test_generate_of_transformers_5(seed: int) -> None:
    model = random_model(seed, n_positions=24, n_embd=16, n_head=2, parity="transformers-5")
    ids = torch.randint(1, model.config.vocab_size, (3, 8))
    mask = (torch.arange(8) >= torch.tensor([[0], [3], [6]])).long()
    given = {"attention_mask": mask, "max_new_tokens": 10, "pad_token_id": 0}
    expected = theirs(model).generate(ids, do_sample=False, **given)
    assert torch.equal(model.generate(ids, **given), expected)


def test_transformers_5_ignores_arguments() -> None:
    ids = torch.tensor([[1, 2, 3]])
    model = random_model(1, n_positions=8, vocab_size=9, parity="transformers-5")
    with pytest.warns(OgptNotice, match="lm_labels"):
        shown = model(ids, lm_labels=ids)
    assert distance(shown.logits, theirs(model)(ids, lm_labels=ids).logits) < TOLERANCE
    for parity in ("ogpt", "transformers-4"):
        other = random_model(1, n_positions=8, vocab_size=9, parity=parity)
        with pytest.raises(UnknownArgument, match="lm_labels") as caught:
            other(ids, lm_labels=ids)
        assert "labels" in caught.value.hint


# the code of 2018


def literal_2018(block: Any, x: Tensor, n_head: int) -> Tensor:
    """Its attention probabilities, (N, n_head, T, T): scores of later keys become -1e9."""
    N, T, C = x.shape
    query, key, _ = block.attn.c_attn(x).view(N, T, 3, n_head, C // n_head).unbind(2)
    scores = torch.einsum("nthd,nshd->nhts", query, key) / (C // n_head) ** 0.5
    lower = torch.ones(T, T, dtype=x.dtype).tril()
    return F.softmax(scores * lower + -1e9 * (1 - lower), dim=-1)


@pytest.mark.parametrize(
    ("factor", "sealed"), [(1.0, True), (300.0, True), (3e6, False)], ids=["1", "1e4", "1e9"]
)
def test_the_mask_of_2018(factor: float, sealed: bool) -> None:
    """-1e9 hides the future where -1e4 does not, and leaks where scores are larger still."""

    def shown(parity: str) -> tuple[Any, Any]:
        model = random_model(8, n_embd=16, n_head=2, n_positions=12, parity=parity).double()
        with torch.no_grad():
            for block in model.transformer.h:
                block.attn.c_attn.weight.mul_(factor)
            ids = torch.arange(24).view(2, 12) % model.config.vocab_size
            out = model(ids, output_attentions=True, output_hidden_states=True)
        return model, out

    model, out = shown("2018")
    for layer, block in enumerate(model.transformer.h):
        expected = literal_2018(block, out.hidden_states[layer], 2)
        assert (out.attentions[layer] - expected).abs().max() < 1e-6
    ours, version_4 = shown("ogpt")[1], shown("transformers-4")[1]
    assert (distance(out.logits, ours.logits) < 1e-12) is sealed
    assert (distance(version_4.logits, ours.logits) < 1e-12) is (factor == 1.0)


@pytest.fixture(scope="module")
def of_2018() -> dict[str, Any]:
    return run_2018.read()


@pytest.mark.parametrize("parity", ["2018", "ogpt"])
def test_the_run_of_2018(of_2018: dict[str, Any], parity: str) -> None:
    """Its logits, losses and gradients; with scores like these the masks give the same.

    Its language model predicts positions, too: the softmax is over all rows of `we`.
    """
    model = run_2018.model_of(of_2018, "p", parity)
    X, M = torch.from_numpy(of_2018["X"]).long(), torch.from_numpy(of_2018["M"])
    ids, right = X[..., 0], torch.from_numpy(of_2018["Y"]).long()
    assert torch.equal(X[..., 1] - 53, torch.arange(12).expand(4, 2, 12))
    classify = (ids == 52).int().argmax(-1)
    out = model(ids, mc_token_ids=classify, mc_labels=right, output_hidden_states=True)
    body = model.transformer
    table = torch.cat([body.tokens_embed.weight, body.positions_embed.weight])
    before = out.hidden_states[-1][:, :, :-1].flatten(0, 1)
    mask = M.flatten(0, 1)[:, 1:]
    each = F.cross_entropy(
        (before @ table.T).transpose(1, 2), ids.flatten(0, 1)[:, 1:], reduction="none"
    )
    lm_losses = (each * mask).sum(1) / mask.sum(1)
    clf_losses = F.cross_entropy(out.mc_logits, right, reduction="none")
    loss = clf_losses.mean() + 0.5 * lm_losses.mean()
    for name, ours in (
        ("clf_logits", out.mc_logits),
        ("clf_losses", clf_losses),
        ("lm_losses", lm_losses),
        ("loss", loss),
    ):
        assert distance(ours, torch.tensor(of_2018[name])) < TOLERANCE, name
    assert distance(out.mc_loss, clf_losses.mean()) < TOLERANCE
    loss.backward()
    gradients = dict(run_2018.model_of(of_2018, "g", parity).named_parameters())
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    for name, parameter in model.named_parameters():
        wanted = gradients[name]
        size = max(wanted.abs().max().item(), largest / 10)  # that of the last bias is zero
        assert (parameter.grad - wanted).abs().max() / size < TOLERANCE, name


def test_the_run_of_2018_is_not_matched_by_chance(of_2018: dict[str, Any]) -> None:
    model = run_2018.model_of(of_2018, "p", "transformers-4-tf")  # the exact gelu
    ids = torch.from_numpy(of_2018["X"])[..., 0].long()
    classify = (ids == 52).int().argmax(-1)
    expected = torch.tensor(of_2018["clf_logits"])
    assert distance(model(ids, mc_token_ids=classify).mc_logits, expected) > 2 * TOLERANCE
    model = run_2018.model_of(of_2018, "p", "2018")
    assert distance(model(ids).mc_logits, expected) > 0.01  # pooled at the end


@pytest.mark.parametrize("name", sorted(PARITY))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_no_parity_gives_nan_for_tokens(name: str, dtype: torch.dtype) -> None:
    model = random_model(3, n_positions=9, parity=name).to(dtype)
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
    logits = model(torch.tensor([[1, 1, 2, 3, 4], [1, 2, 3, 1, 1]]), attention_mask=mask).logits
    assert logits[mask.bool()].isfinite().all()
