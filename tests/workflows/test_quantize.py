"""Quantized folders: the same bits as at load, refused elsewhere, compared with the original."""

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogpt import notices
from ogpt.cli.figures import quantization, size
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.native.balancing import balanced
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.decoding.rounding import round_matrix
from ogpt.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DecoderError,
    OgptError,
    OutputExists,
    TokenizerError,
    WeightsError,
)
from ogpt.evaluation.comparison import compare
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.weights.arrays import Array
from ogpt.weights.model_weights import open_weights
from ogpt.weights.quantized import Rounded, open_quantized, quantized_dtype
from ogpt.weights.safetensors_file import open_safetensors, write_arrays
from ogpt.workflows import quantize as quantizing
from ogpt.workflows.convert import convert
from ogpt.workflows.evaluate import evaluate
from ogpt.workflows.load import load as load_model
from ogpt.workflows.quantize import Quantization
from tests.decoding.calls import extend
from tests.markov import StandInDecoder, StandInTokenizer, contextual, log_softmax

TEXT = "bad cab a dab ace fade bed " * 5


def quantize(*arguments: Any, **options: Any) -> Quantization:
    return quantizing.quantize(*arguments, threads=1, **({"text": TEXT} | options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose 96 channels are no multiple of the group size."""
    folder = tmp_path_factory.mktemp("model")
    vocab = {piece: i for i, piece in enumerate(StandInTokenizer().pieces)}
    OpenAIGPTTokenizerFast(vocab=vocab, merges=[]).save_pretrained(folder)
    config = OpenAIGPTConfig(vocab_size=len(vocab), n_positions=16, n_embd=96, n_layer=2, n_head=3)
    config.initializer_range = 0.1
    torch.manual_seed(0)
    OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    (folder / "generation_config.json").write_text('{"top_k": 5}')
    (folder / "README.md").write_text("# Mine\n")
    return folder


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Quantization]:
    out = tmp_path_factory.mktemp("out")
    return {to: quantize(folder, out / to, to=to) for to in ("int8", "int4", "bf16")}


def logits_of(folder: Path, **options: Any) -> np.ndarray:
    decoder = open_decoder(folder, decoder="native", threads=1, **options)
    logits = extend(decoder, 0, [1, 5, 2, 8, 3, 3, 7], "all")
    decoder.close()
    assert logits is not None
    return logits


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_a_folder_computes_the_bits_of_rounding_at_load(
    folder: Path, made: dict[str, Quantization], dtype: str
) -> None:
    at_load = logits_of(folder, dtype=dtype)
    for asked in ("auto", dtype):
        assert np.array_equal(logits_of(made[dtype].folder, dtype=asked), at_load)
    assert not np.array_equal(logits_of(folder, dtype="float32"), at_load)


def test_a_bf16_folder_is_an_ordinary_one(folder: Path, made: dict[str, Quantization]) -> None:
    out = made["bf16"].folder
    at_load = logits_of(folder, dtype="bfloat16")  # which leaves vectors in float32
    assert np.abs(logits_of(out) - at_load).max() < 0.02 * np.abs(at_load).max()
    _, model = load_model(out)
    assert model.dtype == torch.bfloat16
    assert OpenAIGPTConfig.from_pretrained(out).dtype == "bfloat16"


def test_what_a_folder_holds(folder: Path, made: dict[str, Quantization]) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    for to, bits in (("int8", 8), ("int4", 4)):
        out = made[to].folder
        told = json.loads((out / "config.json").read_text())["quantization_config"]
        assert told == {"quant_method": "ogpt", "bits": bits, "group_size": 64}
        arrays = open_safetensors(out / "model.safetensors")
        name = "transformer.h.0.mlp.c_fc.weight"
        steps, sizes = arrays[name], arrays[f"{name}.step_sizes"]
        assert steps.dtype == ("int8" if bits == 8 else "uint8")
        assert steps.data.shape == (384, 128 * bits // 8)  # 96 inputs are two groups
        assert (sizes.dtype, sizes.data.shape) == ("float32", (384, 2))
        assert arrays["transformer.h.0.ln_1.weight"].dtype == "float32"
        assert {file.name for file in out.iterdir()} == set(before)
        for kept in ("tokenizer.json", "vocab.json", "merges.txt", "generation_config.json"):
            assert (out / kept).read_bytes() == before[kept]
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    card = (made["int4"].folder / "README.md").read_text()
    assert card.startswith("# Mine\n\n## Quantized to int4\n")
    assert f"| {made['int4'].comparison.loss:.4f} |" in card


def steps_of(rounded: Rounded) -> np.ndarray:
    """The whole numbers (out, padded in), which the file holds two to a byte in int4."""
    steps = rounded.steps if isinstance(rounded.steps, Array) else rounded.steps.read()
    if rounded.dtype == "int8":
        return steps.data
    halves = np.stack([steps.data & 15, steps.data >> 4], -1).reshape(len(steps.data), -1)
    return halves.astype(np.int8) - np.int8(8)


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_steps_are_near_the_weights(folder: Path, dtype: str) -> None:
    name = "transformer.h.1.mlp.c_proj.weight"
    values = open_weights(folder)[name].data
    found = round_matrix(name, values, dtype)
    steps = steps_of(found).reshape(96, -1, 64)
    assert steps.min() < 0 < steps.max()
    back = (steps * found.sizes[..., None]).reshape(96, -1)[:, :384].T
    assert np.abs(back - values).mean() < 0.3 * found.sizes.mean()
    assert np.abs(back.T[:, :96] - values[:96]).mean() > found.sizes.mean()  # a transposed read


def test_reading_gives_back_what_was_rounded(folder: Path, made: dict[str, Quantization]) -> None:
    name = "transformer.tokens_embed.weight"
    values = open_weights(folder)[name].data
    for dtype in ("int8", "int4"):
        out = made[dtype].folder
        weights = open_quantized(out, OpenAIGPTConfig.from_pretrained(out))
        expected, found = round_matrix(name, values, dtype), weights[name]
        assert isinstance(found, Rounded)
        assert found.dtype == dtype
        assert np.array_equal(steps_of(found), steps_of(expected))
        assert np.array_equal(found.sizes, expected.sizes)
        assert len(weights) == len(list(weights)) == len(open_weights(folder))
        with pytest.raises(KeyError):
            weights["transformer.h.9.ln_1.weight"]


def test_the_comparison_is_that_of_the_models(folder: Path, made: dict[str, Quantization]) -> None:
    for to, result in made.items():
        found = result.comparison
        original = evaluate(folder, text=TEXT, decoder="native", threads=1)
        other = evaluate(result.folder, text=TEXT, decoder="native", threads=1)
        assert found.tokens == original.tokens - 1
        assert found.original_loss == pytest.approx(original.loss, rel=1e-5)
        assert found.loss == pytest.approx(other.loss, rel=1e-5)
        assert found.perplexity == pytest.approx(other.perplexity, rel=1e-4)
        assert found.original_perplexity == pytest.approx(original.perplexity, rel=1e-4)
        assert 0 < found.kl_divergence < {"int8": 1e-3, "int4": 0.2, "bf16": 1e-3}[to]
        assert 0.6 < found.top_1_agreement <= 1
        assert result.weights_bytes < result.original_bytes / (1.5 if to == "bf16" else 2.5)


def test_a_comparison_by_hand() -> None:
    one, two = contextual(7, n_positions=8, slots=1), contextual(7, n_positions=8, slots=1)
    two.logits_of = lambda held: 0.5 * one.logits_of(held)
    ids = [1, 4, 2, 2, 6, 0]
    found = compare(one, two, [ids[:2], ids[2:]])
    rows = [tuple(ids[:n]) for n in range(1, 6)]
    a = np.array([log_softmax(one.logits_of(row).astype(np.float64)) for row in rows])
    b = np.array([log_softmax(two.logits_of(row).astype(np.float64)) for row in rows])
    assert found.tokens == 5
    assert found.original_loss == pytest.approx(-a[range(5), ids[1:]].mean(), rel=1e-5)
    assert found.loss == pytest.approx(-b[range(5), ids[1:]].mean(), rel=1e-5)
    assert found.kl_divergence == pytest.approx((np.exp(a) * (a - b)).sum(1).mean(), rel=1e-5)
    assert found.kl_divergence != pytest.approx((np.exp(b) * (b - a)).sum(1).mean(), rel=1e-3)
    assert found.top_1_agreement == 1
    two.logits_of = lambda held: -one.logits_of(held)
    assert compare(one, two, [ids]).top_1_agreement == 0
    assert one.held == two.held == [[]]


def test_few_tokens_and_no_numbers_are_refused() -> None:
    one = contextual(7)
    with pytest.raises(DataError, match="fewer than 2 tokens") as few:
        compare(one, one, [[3]])
    assert "longer text" in few.value.hint
    broken = StandInDecoder(lambda held: np.full(7, np.nan), 7)
    with pytest.raises(DecoderError, match="7 of 7 logits are NaN") as caught:
        compare(one, broken, [[1, 2]])
    assert "another checkpoint" in caught.value.hint
    assert broken.held[0] == []


@pytest.mark.parametrize("kept", [2, 7])
def test_max_tokens_are_read(folder: Path, tmp_path: Path, kept: int) -> None:
    assert quantize(folder, tmp_path / "q", max_tokens=kept).comparison.tokens == kept - 1


def test_python_documentation_where_no_text_is_given(folder: Path, tmp_path: Path) -> None:
    with notices.collecting() as told:
        assert quantize(folder, tmp_path / "q", text=None, max_tokens=9).comparison.tokens == 8
    assert [notice.kind for notice in told] == ["text-unknown"]


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_transformers_refuses_a_quantized_folder(
    made: dict[str, Quantization], dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    transformers = pytest.importorskip("transformers")
    logger = logging.getLogger("transformers")  # hands nothing on to the root
    logger.addHandler(caplog.handler)
    level = logger.level
    logger.setLevel(logging.WARNING)  # other tests make it quiet
    try:
        with pytest.raises(RuntimeError, match="mismatch"):
            transformers.OpenAIGPTLMHeadModel.from_pretrained(made[dtype].folder)
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel(level)
    assert "Unknown quantization type, got ogpt" in caplog.text


def test_all_that_wants_floating_point_numbers_refuses_a_quantized_folder(
    made: dict[str, Quantization], tmp_path: Path
) -> None:
    out = made["int8"].folder
    refused: list[Callable[[], object]] = [
        lambda: OpenAIGPTLMHeadModel.from_pretrained(out),
        lambda: load_model(out),
        lambda: convert(out, tmp_path / "converted"),
        lambda: quantize(out, tmp_path / "again"),
        lambda: open_decoder(out, decoder="torch"),
    ]
    for load in refused:
        with pytest.raises(WeightsError, match="were quantized by ogpt") as caught:
            load()
        assert "the decoder 'native'" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_another_dtype_than_the_folders_is_refused(made: dict[str, Quantization]) -> None:
    message = "dtype is 'int4'; the weights in .* are quantized to int8"
    with pytest.raises(ConfigError, match=message) as caught:
        open_decoder(made["int8"].folder, dtype="int4")
    assert "omit dtype" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "error", "message", "hint"),
    [
        ({"to": "int2"}, ConfigError, "to is 'int2'; allowed: int8, int4, bf16", "int8"),
        ({"max_tokens": 1}, ConfigError, "max_tokens is 1; allowed: 2 or more, or 0", "seconds"),
        ({"data": "x.txt"}, ConfigError, "both data and text given", "text itself"),
        ({"text": None, "data": "none.txt"}, DataError, "none.txt", ""),
        ({"text": "a"}, DataError, "fewer than 2 tokens", "longer"),
    ],
)
def test_requests_that_cannot_be_leave_nothing(
    folder: Path,
    tmp_path: Path,
    options: dict[str, Any],
    error: type[OgptError],
    message: str,
    hint: str,
) -> None:
    with pytest.raises(error, match=message) as caught:
        quantize(folder, tmp_path / "q", **options)
    assert hint in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_stays(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputExists, match="already exists") as caught:
        quantize(folder, tmp_path)
    assert "another folder" in caught.value.hint


HALF_WAY = """
import os, resource, sys
import ogpt
from ogpt.errors import StorageError

def report(kind, **fields):
    if fields.get("task") == sys.argv[3]:
        os.kill(os.getpid(), 9)

if sys.argv[3] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    ogpt.quantize(sys.argv[1], sys.argv[2], text="a b c", threads=1, reporter=report)
except StorageError as error:
    sys.stdout.write(f"{error}; {error.hint}")
"""


@pytest.mark.parametrize("when", ["quantizing", "comparing", "full"])
def test_what_ends_half_way_leaves_no_folder(folder: Path, tmp_path: Path, when: str) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    out = tmp_path / "q"
    command = [sys.executable, "-c", HALF_WAY, str(folder), str(out), when]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if when == "full":
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"could not write {tmp_path}")
        assert "free some space" in done.stdout
        assert list(tmp_path.iterdir()) == []
    else:
        assert done.returncode == -9
        assert not out.exists()
        assert len(list(tmp_path.iterdir())) == 1  # hidden, until the next one clears it away
    quantize(folder, out)
    assert list(tmp_path.iterdir()) == [out]
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        ("config.json", None, CheckpointError),
        ("config.json", lambda content: content[:20], CheckpointError),
        ("model.safetensors", None, WeightsError),
        ("model.safetensors", lambda content: content[:-100], WeightsError),
        ("model.safetensors", lambda content: content[:-4] + b"\xff" * 4, WeightsError),
    ],
)
@pytest.mark.parametrize("to", ["int4", "bf16"])
def test_damaged_models_are_refused_and_leave_nothing(
    folder: Path,
    tmp_path: Path,
    name: str,
    change: Callable[[bytes], bytes] | None,
    error: type[OgptError],
    to: str,
) -> None:
    source = Path(shutil.copytree(folder, tmp_path / "source"))
    if change is None:
        (source / name).unlink()
    else:
        (source / name).write_bytes(change((folder / name).read_bytes()))
    with pytest.raises(error) as caught:
        quantize(source, tmp_path / "q", to=to)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == [source]


def test_a_card_is_written_where_there_was_none(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "bare")
    (tmp_path / "bare" / "README.md").unlink()
    quantize(tmp_path / "bare", tmp_path / "q")
    card = (tmp_path / "q" / "README.md").read_text()
    assert "GPT-1 language model" in card
    assert "Quantized to int8" in card


# ---- damaged folders


@pytest.fixture
def copy(made: dict[str, Quantization], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made["int8"].folder, tmp_path / "copy"))


def damage(folder: Path, change: Callable[[dict[str, Array]], object]) -> None:
    file = folder / "model.safetensors"
    arrays = dict(open_safetensors(file))
    change(arrays)
    write_arrays(file, arrays)


FC = "transformer.h.0.mlp.c_fc.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop(f"{FC}.step_sizes"), "c_fc.weight.step_sizes is missing; config"),
        (lambda a: a.update(extra=a["transformer.h.0.ln_1.bias"]), "extra is .* no such array"),
        (
            lambda a: a.update({FC: Array("int8", a[FC].data[:-1])}),
            r"c_fc.weight is \('int8', \(383, 128\)\)",
        ),
        (
            lambda a: a[f"{FC}.step_sizes"].data.fill(np.nan),
            "c_fc.weight.step_sizes contains NaN or infinity",
        ),
        (
            lambda a: a["transformer.h.0.ln_1.bias"].data.fill(np.inf),
            "ln_1.bias contains NaN or infinity",
        ),
    ],
)
def test_a_damaged_folder_is_refused(
    copy: Path, change: Callable[[dict[str, Array]], object], message: str
) -> None:
    def in_place(arrays: dict[str, Array]) -> None:
        change(arrays)

    damage(copy, in_place)
    with pytest.raises(WeightsError, match=message) as caught:
        open_decoder(copy, decoder="native", threads=1)
    assert "restore the file" in caught.value.hint


def test_other_ways_of_quantizing_are_refused(copy: Path, folder: Path) -> None:
    config = OpenAIGPTConfig.from_pretrained(copy)
    for told in ({"quant_method": "gptq", "bits": 4}, {"quant_method": "ogpt", "bits": 3}, "x"):
        config.quantization_config = told  # type: ignore[attr-defined]  # an extra
        with pytest.raises(ConfigError, match=r"quantization_config is .* allowed: q") as caught:
            quantized_dtype(config)
        assert "program that quantized it" in caught.value.hint
    plain = OpenAIGPTConfig.from_pretrained(folder)
    with pytest.raises(ConfigError, match="has no quantization_config") as caught:
        open_quantized(copy, plain)
    assert "without quantization" in caught.value.hint


# ---- balanced channels


def scaled(weights: dict[str, np.ndarray], by: float) -> dict[str, np.ndarray]:
    """The same function with some value channels `by` times as large."""
    changed = {name: array.copy() for name, array in weights.items()}
    for layer in range(2):
        block = f"transformer.h.{layer}.attn."
        outliers = np.array([3, 40, 77]) + layer
        changed[f"{block}c_attn.weight"][:, 192 + outliers] *= by
        changed[f"{block}c_attn.bias"][192 + outliers] *= by
        changed[f"{block}c_proj.weight"][outliers] /= by
    return changed


def arrays_of(weights: dict[str, np.ndarray]) -> dict[str, Array]:
    return {name: Array(array.dtype.name, array) for name, array in weights.items()}


def loss_of(weights: dict[str, np.ndarray], folder: Path, dtype: str) -> np.ndarray:
    config = OpenAIGPTConfig.from_pretrained(folder)
    decoder = NativeDecoder(config, arrays_of(weights), dtype=dtype)
    logits = extend(decoder, 0, [1, 5, 2, 8, 3, 3, 7], "all")
    decoder.close()
    assert logits is not None
    return logits


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_outlier_channels_do_no_harm(
    folder: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {name: array.data for name, array in open_weights(folder).items()}
    exact = loss_of(plain, folder, "float32")
    error = np.abs(loss_of(plain, folder, dtype) - exact).mean()
    outliers = scaled(plain, 30)
    assert np.abs(loss_of(outliers, folder, "float32") - exact).max() < 1e-4
    assert np.abs(loss_of(outliers, folder, dtype) - exact).mean() < 1.3 * error
    # powers of two are undone to the last bit
    assert np.array_equal(loss_of(scaled(plain, 32), folder, dtype), loss_of(plain, folder, dtype))
    monkeypatch.setattr("ogpt.decoding.native.core_weights.balanced", lambda weights: weights)
    if dtype == "int8":  # the planted fault: without balancing they do
        assert np.abs(loss_of(outliers, folder, dtype) - exact).mean() > 1.6 * error


def test_balancing_changes_no_bit_of_the_product(folder: Path) -> None:
    weights = arrays_of(scaled({n: a.data for n, a in open_weights(folder).items()}, 30))
    kept = {name: array.data.copy() for name, array in weights.items()}
    changed = balanced(weights)
    assert list(changed) == list(weights)
    block = "transformer.h.0.attn."
    before = [weights[block + n].data for n in ("c_attn.weight", "c_attn.bias", "c_proj.weight")]
    after = [changed[block + n].data for n in ("c_attn.weight", "c_attn.bias", "c_proj.weight")]
    assert np.array_equal(before[0][:, :192], after[0][:, :192])  # queries and keys
    for channel in range(96):
        factor = after[2][channel, 0] / before[2][channel, 0]
        assert np.log2(factor) == np.rint(np.log2(factor))
        assert np.array_equal(after[2][channel], before[2][channel] * factor)
        assert np.array_equal(after[0][:, 192 + channel] * factor, before[0][:, 192 + channel])
        assert after[1][192 + channel] * factor == before[1][192 + channel]
    assert np.array_equal(changed["transformer.h.0.ln_1.bias"].data, np.zeros(96))
    assert all(np.array_equal(weights[name].data, kept[name]) for name in kept)


def test_what_cannot_be_balanced_stays_as_it_is() -> None:
    def block(into: Array, out_of: Array) -> dict[str, Array]:
        return {"h.0.attn.c_attn.weight": into, "h.0.attn.c_proj.weight": out_of}

    whole = Array("float32", np.ones((4, 12), np.float32))
    rows = Array("float32", np.zeros((4, 4), np.float32))
    integers = Array("int64", np.ones((4, 4), np.int64))
    for out_of in (Array("float32", np.ones((3, 4), np.float32)), rows, integers):
        found = balanced(block(whole, out_of))
        assert np.array_equal(found["h.0.attn.c_attn.weight"].data, whole.data)
        assert np.array_equal(found["h.0.attn.c_proj.weight"].data, out_of.data)
    small = Array("float16", np.full((4, 4), 2.0**-12, np.float16))
    found = balanced(block(whole, small))
    assert found["h.0.attn.c_proj.weight"].dtype == "float32"
    assert (found["h.0.attn.c_proj.weight"].data == 2.0**-6).all()


# ---- a model trained on books, where it stands beside the project


def test_no_framework_is_loaded(made: dict[str, Quantization], tmp_path: Path) -> None:
    program = (
        "import sys, ogpt\n"
        f"ogpt.generate({str(made['int8'].folder)!r}, 'a b', max_new_tokens=3, threads=1)\n"
        f"ogpt.score({str(made['int4'].folder)!r}, 'a b c', threads=1)\n"
        f"ogpt.quantize({str(made['bf16'].folder)!r}, {str(tmp_path / 'q')!r}, text='a b c')\n"
        "loaded = {'torch', 'tensorflow', 'transformers', 'pandas'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_model_without_a_tokenizer(folder: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    for name in ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    with notices.collecting() as told:
        result = quantize(bare, tmp_path / "q", text=None)
    assert [notice.kind for notice in told] == ["comparison-omitted"]
    assert result.comparison is None
    assert quantization(result) == [
        f"{tmp_path / 'q'}: {size(result.original_bytes)} of weights became "
        f"{size(result.weights_bytes)} (int8)"
    ]
    assert "Quantized to int8" in (tmp_path / "q" / "README.md").read_text("utf-8")
    assert np.array_equal(logits_of(tmp_path / "q"), logits_of(bare, dtype="int8"))
    with pytest.raises(TokenizerError, match="no tokenizer files"):
        quantize(bare, tmp_path / "other", text=TEXT)
    assert not (tmp_path / "other").exists()
