"""The LSTM in place of the transformer: its arithmetic, its cache, masks, heads and files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import ogpt
from ogpt.errors import ConfigError, ContextTooLong, TokenOutOfRange, WeightsError
from ogpt.model.cache import KVCache
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.decoder.packed_weights import PackedLinear, pack_weights
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.lstm import LSTMModel
from ogpt.model.lstm_cache import LSTMCache
from ogpt.notices import collecting
from ogpt.weights.shapes import parameter_count, weight_shapes
from tests.model.lstms import SHAPE, lstm, save
from tests.model.small import apart, draw_ids

KINDS = [
    LSTMModel,
    OpenAIGPTLMHeadModel,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification,
]
LIMIT = 1e-5


def by_hand(model: Any, ids: Tensor, gates: str = "ifgo") -> Tensor:
    """Logits (T, V) of a text (T,), from the equations of an LSTM (Gers et al. 2000)."""
    weights = {name.rpartition(".")[2]: tensor for name, tensor in model.named_parameters()}
    block = model.transformer.h[0]
    units = model.config.lstm_units
    h, c, rows = torch.zeros(units), torch.zeros(units), []
    for token in ids:
        x = model.transformer.tokens_embed.weight[token]
        a = weights["weight_ih_l0"] @ x + weights["bias_ih_l0"]
        a = a + weights["weight_hh_l0"] @ h + weights["bias_hh_l0"]
        part = dict(zip(gates, a.chunk(4), strict=True))
        c = part["f"].sigmoid() * c + part["i"].sigmoid() * part["g"].tanh()
        h = part["o"].sigmoid() * c.tanh()
        state = block.projection.weight @ h + block.projection.bias
        rows.append(model.transformer.tokens_embed.weight @ state)
    return torch.stack(rows)


def test_the_logits_are_those_of_the_equations() -> None:
    model, ids = lstm(), draw_ids(2, 11)
    found = model(ids).logits
    for row, text in enumerate(ids):
        assert apart(found[row], by_hand(model, text)) < LIMIT
        assert apart(found[row], by_hand(model, text, gates="figo")) > 100 * LIMIT
    assert model(ids[0]).logits.shape == (11, 40)


@pytest.mark.parametrize("cuts", [[1] * 9, [4, 5], [3, 1, 1, 4], [9]])
def test_a_cache_continues_a_text(cuts: list[int]) -> None:
    model, ids = lstm(), draw_ids(3, 9)
    expected, cache, found = model(ids).logits, None, []
    for part in ids.split(cuts, dim=1):
        out = model(part, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        found.append(out.logits)
    assert isinstance(cache, LSTMCache)
    assert cache.get_seq_length() == 9
    assert apart(torch.cat(found, 1), expected) < LIMIT


def test_every_state_of_the_cache_can_be_continued() -> None:
    """Truncated to any length, also inside a prompt: hidden and cell states of all tokens count."""
    model, ids = lstm(), draw_ids(1, 12)
    expected = model(ids).logits
    cache = model(ids, use_cache=True).past_key_values
    for kept in (11, 7, 3, 1, 0):
        cache.crop(kept)
        found = model(ids[:, kept : kept + 2], past_key_values=cache).logits
        assert apart(found, expected[:, kept : kept + 2]) < LIMIT
    broken = model(ids, use_cache=True).past_key_values
    broken.values[0][:, :, 4] = broken.values[0][:, :, 11]  # the last cell state, as torch returns
    broken.crop(5)
    assert apart(model(ids[:, 5:6], past_key_values=broken).logits, expected[:, 5:6]) > 100 * LIMIT


def test_rows_of_the_cache_are_reordered() -> None:
    model, ids = lstm(), draw_ids(2, 6)
    cache = model(ids[:, :5], use_cache=True).past_key_values
    cache.reorder_cache(torch.tensor([1, 1]))
    found = model(ids[:, 5:], past_key_values=cache).logits
    swapped = torch.cat([ids[[1, 1], :5], ids[:, 5:]], 1)
    assert apart(found, model(swapped).logits[:, 5:]) < LIMIT


MASKS = [
    [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]],
    [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]],
    [[0, 1, 0, 1, 1], [1, 0, 0, 0, 1]],
]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("cut", [0, 2])
def test_padding_leaves_the_state_unchanged(mask: list[list[int]], cut: int) -> None:
    """On either side and inside a text, with a cache and without."""
    model, ids, kept = lstm(), draw_ids(2, 5), torch.tensor(mask)
    if cut:
        first = model(ids[:, :cut], attention_mask=kept[:, :cut], use_cache=True)
        cache = first.past_key_values
        rest = model(ids[:, cut:], attention_mask=kept, past_key_values=cache)
        found = torch.cat([first.logits, rest.logits], 1)
    else:
        found = model(ids, attention_mask=kept).logits
    for row in range(2):
        columns = kept[row].nonzero()[:, 0]
        alone = model(ids[row : row + 1, columns]).logits[0]
        assert apart(found[row, columns], alone) < LIMIT
        if cut:  # after the text, padding has the state of its last token
            after = model(torch.full((2, 1), 7), past_key_values=cache).logits[row]
            cache.crop(5)
            longer = torch.cat([ids[row, columns], torch.tensor([7])])[None]
            assert apart(after[0], model(longer).logits[0, -1]) < LIMIT


def test_a_later_token_changes_no_earlier_state() -> None:
    model, ids = lstm(), draw_ids(1, 8)
    other = ids.clone()
    other[0, 5] = (other[0, 5] + 1) % 40
    one, two = model(ids).logits, model(other).logits
    assert apart(one[:, :5], two[:, :5]) == 0
    assert apart(one[:, 5:], two[:, 5:]) > 0.01


def test_embeddings_and_token_types() -> None:
    model, ids, types = lstm(), draw_ids(2, 5), draw_ids(2, 5, seed=1)
    table = model.get_input_embeddings()
    assert apart(model(inputs_embeds=table(ids)).logits, model(ids).logits) == 0
    both = model(inputs_embeds=table(ids) + table(types)).logits
    assert apart(model(ids, token_type_ids=types).logits, both) < LIMIT


def test_outputs() -> None:
    model, ids = lstm(LSTMModel), draw_ids(2, 3, 5)
    out = model(ids, output_hidden_states=True)
    assert out.last_hidden_state.shape == (2, 3, 5, 12)
    assert [tuple(state.shape) for state in out.hidden_states] == [(2, 3, 5, 12)] * 2
    assert torch.equal(out.hidden_states[0], model.tokens_embed(ids))
    assert model(ids).hidden_states is None
    assert len(model(ids, return_dict=False)) == 1


def test_dropout_in_training_only() -> None:
    model, ids = lstm(embd_pdrop=0.5, resid_pdrop=0.0).train(), draw_ids(1, 9)
    torch.manual_seed(0)
    first = model(ids).logits
    assert apart(first, model(ids).logits) > 0.01
    torch.manual_seed(0)
    assert torch.equal(first, model(ids).logits)
    assert torch.equal(model.eval()(ids).logits, model(ids).logits)


def test_initial_weights() -> None:
    torch.manual_seed(0)
    config = ogpt.LSTMConfig(vocab_size=500, n_embd=64, lstm_units=256)
    model = OpenAIGPTForSequenceClassification(config)
    model.requires_grad_(False)
    layer = model.transformer.h[0].lstm
    assert layer.weight_hh_l0.abs().max() == pytest.approx(1 / 16, rel=0.01)
    assert layer.weight_ih_l0.std() == pytest.approx(1 / 16 / 3**0.5, rel=0.05)
    forget = torch.zeros(1024)
    forget[256:512] = 1
    assert torch.equal(layer.bias_ih_l0, forget)
    assert not layer.bias_hh_l0.any()
    assert not model.transformer.h[0].projection.bias.any()
    assert model.transformer.tokens_embed.weight.std() == pytest.approx(0.1, rel=0.05)
    assert model.score.weight.std() == pytest.approx(0.1, rel=0.2)


def test_gradients_reach_every_weight_and_can_be_recomputed() -> None:
    ids = draw_ids(2, 9)
    found: list[dict[str, Tensor]] = []
    for recompute in (False, True):
        model = lstm().train()
        if recompute:
            model.gradient_checkpointing_enable()
        torch.manual_seed(3)
        model.token_loss(ids[:, :-1], ids[:, 1:]).backward()
        found.append({name: weight.grad for name, weight in model.named_parameters()})
    assert all(grad.abs().max() > 0 for grad in found[0].values())
    for name, grad in found[0].items():
        assert apart(grad, found[1][name]) < LIMIT * max(1.0, float(grad.abs().max())), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    model, ids = lstm(), draw_ids(2, 7)
    expected = model(ids).logits
    narrow = model.to(dtype)
    out = narrow(ids[:, :4], use_cache=True)
    rest = narrow(ids[:, 4:], past_key_values=out.past_key_values)
    found = torch.cat([out.logits, rest.logits], 1)
    assert found.dtype == dtype
    limit = 0.05 if dtype == torch.bfloat16 else LIMIT
    assert apart(found, expected) < limit * float(expected.detach().abs().max())


def test_autocast_trains_in_bfloat16_with_weights_in_float32() -> None:
    model, ids = lstm().train(), draw_ids(2, 9)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.token_loss(ids[:, :-1], ids[:, 1:])
    loss.backward()
    assert model.transformer.h[0].lstm.weight_hh_l0.grad.dtype == torch.float32
    assert loss.item() == pytest.approx(
        lstm().train().token_loss(ids[:, :-1], ids[:, 1:]).item(), rel=0.2
    )


def test_a_packed_model_gives_the_same_logits() -> None:
    model, ids = lstm(), draw_ids(2, 7)
    with torch.inference_mode():
        expected = model(ids).logits
        packed = pack_weights(model)
        assert isinstance(packed.lm_head, PackedLinear)
        assert apart(packed(ids).logits, expected) < LIMIT


REFUSED: list[tuple[Callable[[Any], object], type[Exception], str, str]] = [
    (
        lambda m: m(draw_ids(1, 4), position_ids=torch.arange(4)),
        ConfigError,
        "position_ids was passed; an LSTM has no positions and no attention",
        "omit position_ids",
    ),
    (lambda m: m(draw_ids(1, 4), head_mask=torch.ones(1)), ConfigError, "head_mask", "omit"),
    (lambda m: m(draw_ids(1, 4), output_attentions=True), ConfigError, "attentions", "omit"),
    (
        lambda m: m(draw_ids(1, 4), attention_mask=torch.ones(1, 4, 4)),
        ConfigError,
        r"attention_mask has the shape \(1, 4, 4\); allowed: \(1, 4\)",
        "a row of its own",
    ),
    (
        lambda m: m(
            draw_ids(1, 4), past_key_values=KVCache(ogpt.OpenAIGPTConfig(n_positions=16), 1)
        ),
        ConfigError,
        "a KVCache of a transformer; allowed: an LSTMCache",
        "use_cache=True",
    ),
    (lambda m: m(draw_ids(1, 17)), ContextTooLong, "17 tokens; .* is 16", "shorten"),
    (lambda m: m(torch.tensor([[40]])), TokenOutOfRange, "token id 40", "tokenizer"),
    (lambda m: m.prune_heads({0: [0]}), ConfigError, "all 1 heads of layer 0", "fewer"),
    (lambda m: m.freeze(layers=2), ConfigError, "allowed: 0 to 0", "first blocks"),
    (
        lambda m: ogpt.OpenAIGPTModel(m.config),
        ConfigError,
        "the configuration is of an LSTM; allowed here: that of a transformer",
        "ogpt.LSTMModel",
    ),
    (
        lambda m: LSTMModel(ogpt.OpenAIGPTConfig()),
        ConfigError,
        "a OpenAIGPTConfig; allowed: ogpt.LSTMConfig",
        "LSTMConfig.from_dict",
    ),
]


@pytest.mark.parametrize(("call", "error", "match", "hint"), REFUSED)
def test_refused(
    call: Callable[[Any], object], error: type[Exception], match: str, hint: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        call(lstm())
    assert hint in caught.value.hint  # type: ignore[attr-defined]  # one of ours


# heads and files


def test_multiple_choice_and_classification() -> None:
    ids = draw_ids(2, 3, 6)
    both = lstm(OpenAIGPTDoubleHeadsModel)
    out = both(ids, labels=ids, mc_labels=torch.tensor([2, 0]))
    assert out.mc_logits.shape == (2, 3)
    assert apart(out.mc_logits[1, 2], both(ids[1, 2:]).mc_logits[0]) < LIMIT
    (out.mc_loss + 0.5 * out.loss).backward()
    classifier = lstm(OpenAIGPTForSequenceClassification)
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    found = classifier(ids[:, 0], attention_mask=mask).logits
    assert apart(found[0], classifier(ids[:1, 0, :3]).logits[0]) < LIMIT


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_saved_and_loaded(kind: type, tmp_path: Path) -> None:
    model = lstm(kind)
    save(model, tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["model_type"] == "ogpt-lstm"
    assert saved["architectures"] == [kind.__name__.replace("OpenAIGPT", "LSTM")]
    assert saved["lstm_units"] == 20
    assert not saved.keys() & {"n_head", "afn", "attn_pdrop"}
    stored = {name: tuple(x.shape) for name, x in load_file(tmp_path / "model.safetensors").items()}
    assert stored == weight_shapes(model.config, kind.__name__)
    assert parameter_count(model.config, kind.__name__) == model.num_parameters()
    with collecting() as notices:
        again: Any = kind.from_pretrained(tmp_path)  # type: ignore[attr-defined]  # a model
    assert [notice.message for notice in notices] == []
    ids = draw_ids(2, 5)
    assert torch.equal(model(ids)[0], again(ids)[0])
    assert json.loads(again.config.to_json_string()) == saved
    assert ogpt.ModelFolder.open(tmp_path).architecture == kind.__name__


def test_a_head_is_added_and_the_same_weights_stay(tmp_path: Path) -> None:
    model, ids = lstm(), draw_ids(2, 5)
    save(model, tmp_path)
    with collecting() as notices:
        other = OpenAIGPTForSequenceClassification.from_pretrained(tmp_path)
    assert [notice.kind for notice in notices] == ["weights-not-from-file"]
    assert "score.weight" in notices[0].message
    assert torch.equal(model.transformer(ids)[0], other.transformer(ids)[0])
    bare = LSTMModel.from_pretrained(tmp_path)
    assert torch.equal(model.transformer(ids)[0], bare(ids)[0])
    loaded = OpenAIGPTLMHeadModel.from_pretrained(tmp_path, n_positions=8, dtype="bfloat16")
    assert loaded.config.n_positions == 8
    with pytest.raises(WeightsError, match=r"weight_ih_l0 has shape \(80, 12\); allowed: \(84, 12"):
        OpenAIGPTLMHeadModel.from_pretrained(tmp_path, lstm_units=21)
    with collecting() as notices:
        odd = OpenAIGPTLMHeadModel.from_pretrained(
            tmp_path, lstm_units=21, ignore_mismatched_sizes=True
        )
    assert len(notices) == 1
    assert odd.transformer.h[0].lstm.weight_hh_l0.abs().max() <= 21**-0.5


def test_sizes_change() -> None:
    model, ids = lstm(), draw_ids(1, 5)
    before = model(ids).logits
    model.resize_token_embeddings(45)
    model.resize_position_embeddings(40)
    assert model.config.n_positions == 40
    assert apart(model(ids).logits[..., :40], before) < LIMIT
    assert model(draw_ids(1, 30)).logits.shape == (1, 30, 45)
    model.freeze(layers=1)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert trained == []


def test_it_generates_as_it_scores() -> None:
    """Greedy search, sampling, beams and contrastive search run over the cache of states."""
    model, ids = lstm(), draw_ids(1, 4)
    text = ids
    for _ in range(6):
        text = torch.cat([text, model(text).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(model.generate(ids, max_new_tokens=6), text)
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.int64), ids], 1)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1]])
    found = model.generate(padded, attention_mask=mask, max_new_tokens=6)
    assert torch.equal(found[:, 7:], text[:, 4:])
    for options in ({"num_beams": 3}, {"penalty_alpha": 0.5, "top_k": 3}, {"do_sample": True}):
        assert model.generate(ids, max_new_tokens=3, **options).shape == (1, 7)


def test_transformers_refuses_it(tmp_path: Path) -> None:
    import transformers

    save(lstm(), tmp_path)
    with pytest.raises(ValueError, match="ogpt-lstm"):
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    with pytest.raises(Exception, match="field 'n_layer'"):  # named by its class
        transformers.OpenAIGPTLMHeadModel.from_pretrained(tmp_path)


def test_the_shape_of_the_paper() -> None:
    """2048 units beside an embedding of 768 channels: table 5's model is smaller than GPT-1."""
    with torch.device("meta"):
        model = OpenAIGPTLMHeadModel(ogpt.LSTMConfig())
    assert parameter_count(model.config) == model.num_parameters()
    assert SHAPE["lstm_units"] != SHAPE["n_embd"]  # so that a swap of the two fails above
    assert 50e6 < model.num_parameters() < 60e6
