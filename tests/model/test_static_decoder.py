"""The static decoder's functions, on a CPU and, where there is one, on a CUDA device."""

import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.errors import ConfigError, ContextTooLong, DecoderError, TokenOutOfRange
from ogpt.generation.protocol.decoder import Draw
from ogpt.model.cuda import static_decoder, static_step, step_shape
from ogpt.model.cuda.static_decoder import StaticDecoder
from ogpt.model.cuda.static_weights import round_rows
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.heads import OpenAIGPTLMHeadModel
from tests.any_order import play
from tests.decoding.calls import extend, states, step
from tests.model.devices import ON_EACH
from tests.model.parity import random_model

LIMIT = {"cpu": 1e-5, "cuda": 1e-4}
SIZES = {"n_positions": 40, "vocab_size": 131, "n_embd": 48, "n_head": 3, "n_layer": 2}


def small_model(seed: int = 3, **changes: Any) -> OpenAIGPTLMHeadModel:
    model: OpenAIGPTLMHeadModel = random_model(seed, **{**SIZES, **changes})
    return model


def ids_of(model: OpenAIGPTLMHeadModel, count: int, seed: int = 0) -> list[int]:
    V = model.config.vocab_size
    return np.random.default_rng(seed).integers(0, V, count).tolist()


def whole(model: OpenAIGPTLMHeadModel, ids: list[int]) -> np.ndarray:
    return model.cpu()(torch.tensor([ids])).logits[0].detach().numpy()


def relative(found: Any, expected: Any) -> float:
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


def everything(decoder: StaticDecoder, ids: list[int]) -> list[np.ndarray]:
    """Logits of 40 ids in slots of a decoder, by each way of reading."""
    extend(decoder, 0, ids[:20], "none")
    parts = [extend(decoder, 0, some, "all").copy() for some in (ids[20:38], ids[38:])]
    first = np.concatenate([np.zeros_like(parts[0][:1]).repeat(20, 0), *parts])
    extend(decoder, 2, ids[:3], "none")
    extend(decoder, 1, ids[:17], "none")
    rows = {2: [], 1: []}
    for count in range(10):
        found = step(decoder, [2, 1], [ids[3 + count], ids[17 + count]]).copy()
        rows[2].append(found[0])
        rows[1].append(found[1])
    return [first[20:], np.array(rows[2]), np.array(rows[1])]


def furthest(decoder: StaticDecoder, model: OpenAIGPTLMHeadModel, ids: list[int]) -> float:
    expected = whole(model, ids)
    wanted = [expected[20:], expected[3:13], expected[17:27]]
    return max(map(relative, everything(decoder, ids), wanted))


class Emulated:
    """What a captured graph does, on a CPU: it warms up, and fills the same tensors each time."""

    def __init__(self, work: Any, device: torch.device, pool: Any) -> None:
        self.work = work
        for _ in range(3):
            self.found = work()

    def __call__(self) -> Any:
        new = self.work()
        for old, found in zip(self.tensors(self.found), self.tensors(new), strict=True):
            old.copy_(found)
        return self.found

    def tensors(self, found: Any) -> Any:
        return () if found is None else (found,) if isinstance(found, torch.Tensor) else found


@pytest.fixture(params=["all as rows", "fused from two on"])
def _few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "all as rows":
        monkeypatch.setattr(static_decoder, "_FEW", 1)


@ON_EACH
@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("change", [{}, {"afn": "relu"}, {"tie_word_embeddings": False}])
def test_logits_are_the_models(device: str, deterministic: bool, change: dict[str, Any]) -> None:
    model = small_model(**change)
    decoder = StaticDecoder(model.to(device), 3, deterministic=deterministic)
    assert furthest(decoder, model, ids_of(model, 40)) < LIMIT[device]
    assert [decoder.length(slot) for slot in range(3)] == [40, 27, 13]
    decoder.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_each_precision_on_a_device(precision: str) -> None:
    model = small_model(n_head=4, n_embd=256)
    decoder = StaticDecoder(model.cuda(), 3, precision=precision)
    assert furthest(decoder, model, ids_of(model, 40)) < (1e-4 if precision == "float32" else 0.1)


@pytest.mark.parametrize("deterministic", [False, True])
def test_graphs_that_fill_the_same_tensors(
    deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_shape, "Replayed", Emulated)
    model = small_model()
    ids = ids_of(model, 40)
    decoder = StaticDecoder(model, 3, deterministic=deterministic)
    hidden = states(decoder, 2, ids[:9])
    decoder.copy(2, 0)
    before = decoder._cache[:, :3].clone()
    expected = step(decoder, [2, 0], [ids[9], ids[9]]).copy()
    decoder.free(1)
    decoder.truncate(2, 9)
    assert torch.equal(decoder._cache[:, 2, :9], before[:, 2, :9])  # warming up wrote nowhere
    written = decoder.write([2], [ids[9]], [Draw()], np.zeros((30, 1)))
    assert written.ids[0, 0] == expected[0].argmax()
    again = whole(model, [*ids[:10], *written.ids[:, 0].tolist()])
    assert written.ids[:, 0].tolist() == again[9:39].argmax(1).tolist()
    expected = model.transformer(torch.tensor([ids[:9]])).last_hidden_state[0].detach().numpy()
    assert relative(hidden, expected) < 1e-5
    for slot in range(3):
        decoder.free(slot)
    assert furthest(decoder, model, ids) < 1e-5


REAL = static_step.attend_rows


def position_off_by_one(query: Any, held: Any, rows: Any) -> Any:
    return REAL(query, held, rows._replace(positions=(rows.positions - 1).clamp(min=0)))


def stale_places_seen(query: Any, held: Any, rows: Any) -> Any:
    return REAL(query, held, rows._replace(positions=torch.full_like(rows.positions, 39)))


def other_slot(query: Any, held: Any, rows: Any) -> Any:
    return REAL(query, held, rows._replace(slots=(rows.slots + 1) % len(held)))


@pytest.mark.parametrize("fault", [position_off_by_one, stale_places_seen, other_slot])
def test_faults_of_attention_show(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_step, "attend_rows", fault)
    model = small_model()
    decoder = StaticDecoder(model, 3)
    extend(decoder, 1, ids_of(model, 40, 1), "none")  # what a later text must not see
    decoder.free(1)
    assert furthest(decoder, model, ids_of(model, 40)) > 1e-3


@pytest.mark.usefixtures("_few")
def test_an_embedding_of_the_next_position_shows() -> None:
    model = small_model()
    decoder = StaticDecoder(model, 1)
    moved = decoder._weights.positions.roll(-1, 0)
    decoder._weights = decoder._weights._replace(positions=moved)
    decoder._pass = partial(static_step.pass_of_rows, decoder._weights, decoder._cache)
    ids = ids_of(model, 9)
    assert relative(extend(decoder, 0, ids, "all"), whole(model, ids)) > 1e-3


@ON_EACH
def test_what_is_left_in_a_slot_is_never_read(device: str) -> None:
    model = small_model()
    ids = ids_of(model, 40)
    decoder = StaticDecoder(model.to(device), 3)
    decoder._cache.fill_(float("nan"))
    assert furthest(decoder, model, ids) < LIMIT[device]


def play_both(device: str, seed: int, calls: int, **shape: Any) -> None:
    draw = random.Random(seed)
    model = small_model(seed, **shape)
    slots = draw.randint(1, 6)
    theirs = TorchDecoder(small_model(seed, **shape), slots)
    ours = StaticDecoder(model.to(device), slots, deterministic=draw.random() < 0.3)
    play(ours, theirs, draw, calls, 2 * LIMIT[device])


SHAPES: list[dict[str, Any]] = [
    {"n_head": 5, "n_embd": 5, "vocab_size": 7},  # head_dim 1
    {"n_head": 3, "n_embd": 9, "vocab_size": 65, "parity": {"gelu": "erf"}},
    {"n_head": 1, "n_embd": 7, "vocab_size": 1, "n_positions": 9},
    {"n_head": 2, "n_embd": 192, "vocab_size": 193, "n_layer": 1},  # head_dim 96
    {"n_head": 2, "n_embd": 66, "vocab_size": 129, "n_positions": 1},
    {"n_head": 4, "n_embd": 100, "vocab_size": 64, "n_positions": 90},
]


@ON_EACH
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_calls_in_any_order(device: str, shape: dict[str, Any]) -> None:
    play_both(device, 1, 60, **shape)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_calls_in_any_order_for_long(seed: int) -> None:
    draw = random.Random(seed)
    n_head = draw.randint(1, 6)
    play_both(
        "cpu",
        seed,
        150,
        n_head=n_head,
        n_embd=n_head * draw.randint(1, 40),
        vocab_size=draw.randint(1, 400),
        n_positions=draw.randint(1, 90),
        n_layer=draw.randint(1, 3),
    )


@ON_EACH
def test_deterministic_alone_in_company_and_however_cut(device: str) -> None:
    model = small_model(n_embd=96).to(device)
    ids = ids_of(model, 40)
    alone = StaticDecoder(model, 5, deterministic=True)
    assert alone.abilities.bitwise
    assert not StaticDecoder(model, 5).abilities.bitwise
    expected = extend(alone, 0, ids[:33], "all")
    stepped = [step(alone, [0], [ids[place]])[0] for place in range(33, 40)]
    other = StaticDecoder(model, 5, deterministic=True)
    parts, place = [], 0
    for count in (1, 9, 3, 18, 2):
        parts.append(extend(other, 3, ids[place : place + count], "all"))
        extend(other, 1, ids_of(model, 5, place), "none")
        place += count
    assert np.array_equal(np.concatenate(parts), expected)
    other.copy(3, 4)
    other.free(3)
    extend(other, 3, ids[:6], "none")
    for place, row in zip(range(33, 40), stepped, strict=True):
        found = step(other, [1, 4, 3], [5, ids[place], 6])
        assert np.array_equal(found[1], row)
    scores = alone.score(2, ids[:39], ids[1:], 2)
    other.free(0)
    parts = [other.score(0, ids[:20], ids[1:21], 2), other.score(0, ids[20:39], ids[21:], 2)]
    assert np.array_equal(scores.log_probs, np.concatenate([part.log_probs for part in parts]))


def rounded(model: OpenAIGPTLMHeadModel) -> OpenAIGPTLMHeadModel:
    """The model with the weights that int8 rows stand for."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ("c_" in name and name.endswith("weight")) or "lm_head" in name:
                conv = "lm_head" not in name  # stored (in, out)
                steps, scale = round_rows(weight.t() if conv else weight)
                back = steps * scale[:, None]
                weight.copy_(back.t() if conv else back)
    return model


INT8: dict[str, Any] = {"n_embd": 96, "n_head": 3, "tie_word_embeddings": False}


@ON_EACH
def test_int8_rows_are_the_rounded_model(device: str) -> None:
    ids = ids_of(small_model(**INT8), 40)
    expected = rounded(small_model(**INT8))
    far = {}
    for precision in ("bfloat16", "int8"):
        model = (expected if precision == "bfloat16" else small_model(**INT8)).to(device)
        far[precision] = furthest(StaticDecoder(model, 3, precision=precision), expected, ids)
    assert far["bfloat16"] < 0.05
    assert far["int8"] < 0.05
    decoder = StaticDecoder(small_model(**INT8).to(device), 3, precision="int8")
    scale = decoder._weights.layers[1].up.scale
    assert scale is not None
    scale[:] = 0.01  # not a row's own
    assert furthest(decoder, expected, ids) > 0.1


def test_int8_rows_come_near_the_model() -> None:
    weight = torch.randn(50, 300, generator=torch.Generator().manual_seed(0))
    weight[3], weight[4, 7] = 0.0, 30.0
    steps, scale = round_rows(weight)
    assert ((steps * scale[:, None] - weight).abs() <= scale[:, None] * 0.5001).all()
    assert steps[4, 7] == 127
    far = furthest(
        StaticDecoder(small_model(), 3, precision="int8"), small_model(), list(range(40))
    )
    assert far < 0.1


@pytest.mark.parametrize(
    ("call", "error", "match", "hint"),
    [
        (
            lambda d: d.write([0], [1], [Draw()], np.zeros((0, 1))),
            DecoderError,
            r"1 ids, 1 draws and numbers of shape \(0, 1\) for 1 slots; allowed: an id",
            "each step",
        ),
        (
            lambda d: d.write([0, 1], [1, 2], [Draw()], np.zeros((1, 2))),
            DecoderError,
            "2 ids, 1 draws .* for 2 slots",
            "random numbers",
        ),
        (
            lambda d: d.write([0, 1], [1], [Draw()] * 2, np.zeros((1, 2))),
            DecoderError,
            "1 ids, 2 draws .* for 2 slots",
            "random numbers",
        ),
        (
            lambda d: d.write([0], [1], [Draw()], np.zeros((41, 1))),
            ContextTooLong,
            "0 positions are in use and 41 tokens follow",
            "truncate",
        ),
        (
            lambda d: d.write([0], [131], [Draw()], np.zeros((1, 1))),
            TokenOutOfRange,
            "token id 131",
            "tokenizer belongs",
        ),
    ],
)
def test_misuse_of_write_is_refused(call: Any, error: Any, match: str, hint: str) -> None:
    decoder = StaticDecoder(small_model(), 2)
    with pytest.raises(error, match=match) as caught:
        call(decoder)
    assert hint in caught.value.hint
    assert [decoder.length(slot) for slot in range(2)] == [0, 0]


def test_logits_that_are_no_numbers_are_refused() -> None:
    model = small_model()
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.bias[3] = float("nan")
    decoder = StaticDecoder(model, 2)
    for draw in (Draw(), Draw(do_sample=True), Draw(do_sample=True, top_p=0.9)):
        with pytest.raises(DecoderError, match="NaN or infinite; allowed: finite") as caught:
            decoder.write([1, 0], [1, 2], [draw, Draw()], np.full((3, 2), 0.5))
        assert "NaN" in caught.value.hint
        assert decoder.length(1) == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"pruned_heads": {0: [1]}}, "pruned heads"),
        ({"parity": "2018"}, "parity.masking is '2018'"),
    ],
)
def test_models_that_it_cannot_run(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        StaticDecoder(small_model(**change), 1)
    assert "TorchDecoder" in caught.value.hint


def test_an_unknown_precision_and_too_many_slots() -> None:
    model = small_model()
    with pytest.raises(ConfigError, match="precision is 'float64'; allowed: float32") as caught:
        StaticDecoder(model.double(), 1)
    assert "bfloat16" in caught.value.hint
    with pytest.raises(DecoderError, match=f"{10**12} slots of 40 tokens do not fit") as refused:
        StaticDecoder(small_model(), 10**12)
    assert "fewer slots" in refused.value.hint
