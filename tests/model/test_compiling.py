"""torch.compile and torch.export of every model, whole, equal eager."""

import pytest
import torch
import torch._dynamo.testing
from torch import Tensor

from ogpt.model.pretrained import OpenAIGPTPreTrainedModel
from ogpt.notices import collecting
from tests.model.small import KINDS, apart, draw_ids, small

IDS = draw_ids(2, 6)
MASK = (torch.arange(6) >= torch.tensor([[0], [2]])).long()
LABELS = [
    {},
    {"labels": IDS.clone()},  # export takes one tensor given twice for one input
    {"labels": IDS.clone(), "mc_labels": torch.tensor([1])},
    {"labels": torch.tensor([0, 1])},
]
EVERY_KIND = pytest.mark.parametrize(("kind", "labels"), list(zip(KINDS, LABELS, strict=True)))
DYNAMIC = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}


def furthest(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert list(found) == list(expected)
    tensors = [name for name in expected if isinstance(expected[name], Tensor)]
    return max(apart(found[name], expected[name]) for name in tensors)


@pytest.fixture(autouse=True)
def _no_code_of_other_tests() -> None:
    torch._dynamo.reset()


@EVERY_KIND
@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.slow), True])
def test_compiled_whole(
    kind: type[OpenAIGPTPreTrainedModel], labels: dict[str, Tensor], masked: bool
) -> None:
    model = small(kind)
    given = {**labels, "output_hidden_states": True, "output_attentions": masked}
    if masked:
        given["attention_mask"] = MASK
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    found, expected = compiled(IDS, **given), model(IDS, **given)
    assert furthest(found, expected) < 1e-6
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert apart(one, other) < 1e-6


@pytest.mark.parametrize(
    "kind",
    [kind if kind is KINDS[1] else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_compiled_with_a_cache(kind: type[OpenAIGPTPreTrainedModel]) -> None:
    model = small(kind)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    first = compiled(IDS[:, :4], use_cache=True)
    second = compiled(IDS[:, 4:], past_key_values=first.past_key_values)
    assert second.past_key_values.get_seq_length() == 6
    name = "last_hidden_state" if kind is KINDS[0] else "logits"
    whole = model(IDS)[name]
    assert apart(second[name], whole if kind is KINDS[3] else whole[:, 4:]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("padded", [False, True])
def test_compiled_decoding_does_not_compile_every_step(padded: bool) -> None:
    """fullgraph fails beyond torch's limit of 8 graphs; there are 13 steps."""
    model, ids = small(), draw_ids(2, 16)
    mask = (torch.arange(16) >= torch.tensor([[0], [2]])).long() if padded else None
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    cache, start = model.transformer.new_cache(2), 0
    for stop in range(3, 17):
        seen = None if mask is None else mask[:, :stop]
        out = compiled(ids[:, start:stop], attention_mask=seen, past_key_values=cache)
        start = stop
    expected = model(ids, attention_mask=mask).logits[:, -1:]
    assert apart(out.logits, expected) < 1e-5


@pytest.mark.parametrize("name", ["position_ids", "token_type_ids"])
def test_an_argument_comes_after_lengths_that_changed(name: str) -> None:
    """The length of the ids is open in the graph by then, that of the argument is a number."""
    model = small(n_layer=1)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for length in (4, 5):
        compiled(IDS[:, :length])
    given = {name: torch.arange(6)[None] if name == "position_ids" else IDS.flip(0)}
    assert apart(compiled(IDS, **given).logits, model(IDS, **given).logits) < 1e-6


def test_compiled_training_with_dropout() -> None:
    gradients = []
    for compiled in (False, True):
        model = small().train()
        call = torch.compile(model, fullgraph=True, backend="aot_eager") if compiled else model
        torch.manual_seed(2)
        call(IDS, labels=IDS).loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert apart(one, other) < 1e-6


def test_nothing_to_learn_is_silent_in_compiled_code() -> None:
    compiled = torch.compile(small(), fullgraph=True, backend="eager")
    with collecting() as notices:
        assert compiled(IDS, labels=torch.full_like(IDS, -100)).loss.item() == 0.0
    assert not notices


def test_arguments_left_out_are_left_out_of_compiled_code() -> None:
    model = small(parity="transformers-5")
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with collecting() as notices:
        found = compiled(IDS, lm_labels=1).logits
    assert not notices
    assert apart(found, model(IDS).logits) < 1e-6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # the compiler's own
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
@EVERY_KIND
def test_compiled_by_inductor(
    kind: type[OpenAIGPTPreTrainedModel], labels: dict[str, Tensor]
) -> None:
    model = small(kind)
    compiled = torch.compile(model, fullgraph=True)
    expected = model(IDS, attention_mask=MASK, **labels)
    assert furthest(compiled(IDS, attention_mask=MASK, **labels), expected) < 1e-4


@EVERY_KIND
def test_exported(kind: type[OpenAIGPTPreTrainedModel], labels: dict[str, Tensor]) -> None:
    model = small(kind)
    given = {"attention_mask": MASK, **labels}
    program = torch.export.export(model, (IDS,), given).module()
    assert furthest(program(IDS, **given), model(IDS, **given)) < 1e-6
    other = {"attention_mask": 1 - MASK, **labels}
    assert furthest(program(IDS.flip(0), **other), model(IDS.flip(0), **other)) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_exported_for_every_batch_and_length(kind: type[OpenAIGPTPreTrainedModel]) -> None:
    model = small(kind)
    shapes = {"input_ids": DYNAMIC, "attention_mask": DYNAMIC}
    program = torch.export.export(
        model, (IDS,), {"attention_mask": MASK}, dynamic_shapes=shapes
    ).module()
    for B, T in [(5, 11), (2, 2), (3, 16)]:
        ids = draw_ids(B, T)
        mask = (torch.arange(T) < draw_ids(B, 1, vocab_size=T)).long()
        found = program(ids, attention_mask=mask)
        assert furthest(found, model(ids, attention_mask=mask)) < 1e-5
        assert apart(found[0], model(ids)[0]) > 0.01  # the mask is no constant of the program


def test_exported_choices() -> None:
    model, ids = small(KINDS[2]), draw_ids(2, 3, 6)
    places = draw_ids(2, 3, vocab_size=6)
    program = torch.export.export(model, (ids,), {"mc_token_ids": places}).module()
    other = (draw_ids(2, 3, 6, seed=1), (places + 1) % 6)
    assert (
        furthest(program(other[0], mc_token_ids=other[1]), model(other[0], mc_token_ids=other[1]))
        < 1e-6
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # dynamo's own
def test_blocks_are_compiled_once_for_all_lengths() -> None:
    model = small(n_positions=160, n_layer=1).train()
    graphs = torch._dynamo.testing.CompileCounter()
    for block in model.transformer.h:
        block.compile(dynamic=True, backend=graphs)
    for length in (7, 12, 3, 30, 128):
        model(draw_ids(2, length), labels=draw_ids(2, length)).loss.backward()
    assert graphs.frame_count == 1
    for length in (140, 160, 130):  # two blocks of queries are other code than one
        model(draw_ids(2, length), labels=draw_ids(2, length)).loss.backward()
    assert graphs.frame_count == 2
