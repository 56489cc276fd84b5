"""The native decoder computes what PyTorch computes, and keeps the protocol of decoders."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.decoding.native import library
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.errors import ConfigError, DecoderError
from ogpt.generation.protocol.decoder import Part
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from tests.decoding.calls import extend
from tests.markov import StandInTokenizer
from tests.native.models import DTYPES, arrays_of, native, random_ids, relative, small_model

BOUNDS = {"float32": 1e-4, "bfloat16": 0.05, "int8": 0.1, "int4": 0.7}
"""Relative to PyTorch in float32, of models with weights far wilder than trained ones."""


@pytest.fixture(scope="module")
def model() -> OpenAIGPTLMHeadModel:
    return small_model()


@pytest.fixture(scope="module")
def ids() -> list[int]:
    return random_ids(40, 131)


@pytest.fixture(scope="module")
def whole(model: OpenAIGPTLMHeadModel, ids: list[int]) -> np.ndarray:
    return model(torch.tensor([ids])).logits[0].detach().numpy()


@pytest.fixture
def decoder(model: OpenAIGPTLMHeadModel) -> Iterator[NativeDecoder]:
    opened = native(model, slots=4, threads=2)
    yield opened
    opened.close()


@pytest.mark.parametrize("kernels", library.available_kernels())
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cache_dtype", ["float32", "bfloat16"])
def test_logits_are_those_of_pytorch(
    model: OpenAIGPTLMHeadModel,
    ids: list[int],
    whole: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    kernels: str,
    dtype: str,
    cache_dtype: str,
) -> None:
    monkeypatch.setenv(library.KERNELS_VARIABLE, kernels)
    decoder = native(model, dtype=dtype, cache_dtype=cache_dtype)
    assert (decoder.kernels, decoder.dtype) == (kernels, dtype)
    bound = max(BOUNDS[dtype], BOUNDS[cache_dtype])
    assert relative(extend(decoder, 0, ids, "all"), whole) < bound
    decoder.close()


@pytest.mark.parametrize("seed", range(8))
def test_every_shape_and_activation(seed: int) -> None:
    parity = "transformers-4-tf" if seed == 7 else None
    afn = ("gelu", "relu", "silu", "swish", "gelu_new", "gelu", "silu", "gelu")[seed]
    model = small_model(seed, afn=afn)
    if parity:
        model = small_model(seed, afn=afn, parity={"gelu": "erf"})
    found = extend(native(model), 0, random_ids(30, 131), "all")
    expected = model(torch.tensor([random_ids(30, 131)])).logits[0].detach().numpy()
    assert relative(found, expected) < BOUNDS["float32"]


@pytest.mark.parametrize(
    "fault",
    [{"parity": {"gelu": "erf"}}, {"layer_norm_epsilon": 1e-2}, {"n_head": 4}, {"afn": "silu"}],
    ids=str,
)
def test_the_bound_catches_faults(
    model: OpenAIGPTLMHeadModel, ids: list[int], whole: np.ndarray, fault: dict[str, Any]
) -> None:
    settings = {**model.config.to_dict(), "afn": "gelu"}
    right = OpenAIGPTLMHeadModel(type(model.config)(**settings)).eval()
    right.load_state_dict(model.state_dict())
    wrong = OpenAIGPTLMHeadModel(type(model.config)(**{**settings, **fault})).eval()
    wrong.load_state_dict(model.state_dict())
    expected = right(torch.tensor([ids])).logits[0].detach().numpy()
    assert relative(extend(native(right), 0, ids, "all"), expected) < BOUNDS["float32"]
    assert relative(extend(native(wrong), 0, ids, "all"), expected) > BOUNDS["float32"]


def test_a_long_prompt_goes_in_pieces() -> None:
    model = small_model(n_positions=1100, n_layer=1)
    ids = random_ids(1100, 131)
    decoder, other = native(model), native(model)
    found, last = (
        one.run([Part(0, ids, want)], hidden=True)
        for one, want in ((decoder, "all"), (other, "last"))
    )
    assert found.logits.shape == (1100, 131)
    assert np.array_equal(last.logits[0], found.logits[-1])
    assert found.hidden is not None
    assert last.hidden is not None
    assert np.array_equal(found.hidden[0], last.hidden[0])
    assert found.hidden[0].shape == (1100, 48)
    assert other.length(0) == 1100


def test_a_mixed_call_goes_in_pieces() -> None:
    """Wanted rows before, inside and after the first pieces of 256 rows."""
    model = small_model(n_positions=600, n_layer=1)
    ids = random_ids(600, 131)
    decoder, alone = native(model, slots=4), native(model)
    expected = extend(alone, 0, ids, "all")
    decoder.run([Part(1, ids[:9], "none")])
    found = decoder.run(
        [Part(1, ids[9:10]), Part(0, ids[:300]), Part(3, ids[:400], "none"), Part(2, ids, "all")],
        hidden=True,
    )
    assert np.array_equal(
        found.logits, np.concatenate([expected[9:10], expected[299:300], expected])
    )
    assert found.hidden is not None
    assert [len(states) for states in found.hidden] == [1, 300, 400, 600]
    assert np.array_equal(found.hidden[2], found.hidden[3][:400])


def test_scores_are_those_of_search(
    decoder: NativeDecoder, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = decoder.score(0, ids[:20], ids[1:21], top=5)
    monkeypatch.setattr(
        "ogpt.decoding.native.native_decoder._CHUNK_LOGITS", 3 * 131
    )  # three at once
    pieces = decoder.score(1, ids[:20], ids[1:21], top=5)
    logits = extend(decoder, 2, ids[:20], "all")
    assert logits is not None
    normalizers = decoder.abilities.summarize(logits).normalizers
    for place, row in enumerate(logits):
        expected = np.float32(row[ids[place + 1]] - normalizers[place])
        assert whole.log_probs[place] == pieces.log_probs[place] == expected
    for one, other in zip(whole, pieces, strict=True):
        assert np.array_equal(one, other)


def test_of_equal_scores_the_lower_ids_come_first() -> None:
    model = small_model()
    with torch.no_grad():
        model.transformer.tokens_embed.weight[50:100] = model.transformer.tokens_embed.weight[50]
    decoder = native(model, slots=1)
    scores = decoder.score(0, [3], [3], top=131)
    where = scores.top_ids[0].tolist().index(50)
    assert scores.top_ids[0, where : where + 50].tolist() == list(range(50, 100))
    decoder.free(0)
    cut = decoder.score(0, [3], [3], top=where + 7)
    assert np.array_equal(cut.top_ids[0], scores.top_ids[0, : where + 7])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dtype": "float16"}, "dtype is 'float16'; allowed: float32, bfloat16, int8, int4"),
        ({"cache_dtype": "int8"}, "cache_dtype is 'int8'; allowed: float32, bfloat16"),
        ({"threads": 0}, "threads is 0; allowed: 1 to 1024"),
        ({"threads": 1025}, "threads is 1025; allowed: 1 to 1024"),
        ({"slots": 0}, "slots is 0; allowed: 1 or more"),
    ],
)
def test_values_outside_their_range(
    model: OpenAIGPTLMHeadModel, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        native(model, **options)
    assert caught.value.hint


def test_a_model_that_the_core_does_not_know() -> None:
    model = small_model(pruned_heads={0: [1]})
    with pytest.raises(ConfigError, match="cannot run this model: pruned heads are") as caught:
        native(model)
    assert caught.value.hint == "use --decoder torch"


def test_abilities_and_sizes(decoder: NativeDecoder) -> None:
    assert decoder.abilities.bitwise
    assert decoder.abilities.hidden_states
    assert (decoder.vocab_size, decoder.n_positions, decoder.slots) == (131, 40, 4)
    assert decoder.nbytes > 131 * 48 * 4


def test_no_framework_is_imported(model: OpenAIGPTLMHeadModel, tmp_path: Any) -> None:
    model.save_pretrained(tmp_path)
    program = (
        "import sys\n"
        "from ogpt.decoding.choice import open_decoder\n"
        "from ogpt.generation.protocol.decoder import Part\n"
        f"decoder = open_decoder({str(tmp_path)!r}, decoder='native', threads=2)\n"
        "decoder.run([Part(0, [1, 2, 3])])\n"
        "decoder.score(0, [1, 2, 3], [2, 3, 4], top=2)\n"
        "decoder.close()\n"
        "sys.exit(bool({'torch', 'tensorflow', 'transformers'} & set(sys.modules)))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_generate_imports_no_framework(tmp_path: Path) -> None:
    vocab = {piece: i for i, piece in enumerate(StandInTokenizer().pieces)}
    tokenizer = OpenAIGPTTokenizerFast(vocab=vocab, merges=[])
    tokenizer.save_pretrained(tmp_path)
    small_model(vocab_size=len(tokenizer)).save_pretrained(tmp_path)
    program = (
        "import sys\n"
        "from ogpt.cli.main import app\n"
        f"app(['generate', {str(tmp_path)!r}, 'a b', '--max-new-tokens', '3', '--decoder', "
        "'native'], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'tensorflow', 'transformers'} & set(sys.modules)))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_weights_are_read_once_each(model: OpenAIGPTLMHeadModel) -> None:
    asked: list[str] = []

    class Counting(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            asked.append(name)
            return super().__getitem__(name)

    NativeDecoder(model.config, Counting(arrays_of(model))).close()
    assert len(asked) == len(set(asked)) == len(model.stored_tensors())


@pytest.mark.parametrize("kernels", library.available_kernels())
@pytest.mark.parametrize("vocab_size", [1, 7, 64, 131, 1000])
def test_rows_of_logits_are_summarized(
    monkeypatch: pytest.MonkeyPatch, kernels: str, vocab_size: int
) -> None:
    monkeypatch.setenv(library.KERNELS_VARIABLE, kernels)
    decoder = native(small_model(vocab_size=vocab_size), threads=2)
    logits = np.random.default_rng(0).normal(0, 9, (9, vocab_size)).astype(np.float32)
    logits[3] = logits[3].round(-1)  # equal ones
    found = decoder.abilities.summarize(logits)
    assert np.array_equal(found.best, logits.argmax(axis=1))
    wide = logits.astype(np.float64)
    expected = np.log(np.exp(wide - wide.max(1, keepdims=True)).sum(1)) + wide.max(1)
    assert np.abs(found.normalizers - expected).max() < 2e-6
    for place in range(9):
        alone = decoder.abilities.summarize(logits[place : place + 1])
        assert alone.normalizers[0] == found.normalizers[place]
    decoder.close()


def test_logits_that_are_no_numbers_and_others_are_refused(decoder: NativeDecoder) -> None:
    V = decoder.vocab_size
    for place in (0, V - 1):
        for value in (np.nan, np.inf):
            logits = np.zeros((2, V), np.float32)
            logits[1, place] = value
            with pytest.raises(DecoderError, match=f"largest logit is {value}"):
                decoder.abilities.summarize(logits)
    with pytest.raises(DecoderError, match=rf"shape \(2, 3\).*allowed: \(N, {V}\)"):
        decoder.abilities.summarize(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("kernels", library.available_kernels())
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_that_overflow_make_up_no_logits(
    monkeypatch: pytest.MonkeyPatch, kernels: str, dtype: str
) -> None:
    monkeypatch.setenv(library.KERNELS_VARIABLE, kernels)
    model = small_model()
    for name, weight in model.named_parameters():
        if name.endswith("positions_embed.weight"):
            weight.data[1] = 3e38  # its variance is infinite
    decoder = native(model, dtype=dtype)
    assert np.isfinite(extend(decoder, 0, [5])).all()
    logits = extend(decoder, 0, [5])
    assert logits is not None
    assert np.isnan(logits).all()
    with pytest.raises(DecoderError, match="largest logit is nan"):
        decoder.score(0, [5], [6])
    decoder.close()
