"""Any checkpoint becomes a model folder or OpenAI's files, without a framework."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import (
    CheckpointError,
    ConfigError,
    OutputExists,
    TokenizerError,
    VocabularyMismatch,
    WeightsError,
)
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.weights.arrays import Array
from ogpt.weights.model_weights import open_weights
from ogpt.weights.openai_files import write_openai
from ogpt.weights.safetensors_file import write_arrays
from ogpt.weights.shapes import weight_shapes
from ogpt.workflows.convert import convert

OPENAI_VOCABULARY = Path(__file__).parents[3] / "shared" / "data" / "gpt1_vocab"
SHAPE: dict[str, Any] = {
    "vocab_size": 7,
    "n_positions": 6,
    "n_embd": 8,
    "n_layer": 2,
    "n_head": 2,
}
VOCAB = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab</w>": 5}
MERGES = [("a", "b</w>")]
BUFFERS = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 6, 6) for i in range(2)}

Arrays = dict[str, Array]


def weights(config: OpenAIGPTConfig, architecture: str, dtype: str = "float32") -> Arrays:
    draw = np.random.default_rng(7)
    return {
        name: Array(dtype, draw.normal(size=shape).astype(dtype))
        for name, shape in weight_shapes(config, architecture).items()
    }


def hugging_face(
    folder: Path, architecture: str = "OpenAIGPTLMHeadModel", **options: Any
) -> tuple[Path, Arrays]:
    folder.mkdir()
    config = OpenAIGPTConfig(**SHAPE, architectures=[architecture], **options)
    config.save_pretrained(folder)
    OpenAIGPTTokenizerFast(vocab=VOCAB, merges=MERGES).save_pretrained(folder)
    arrays = weights(config, architecture)
    write_arrays(folder / "model.safetensors", arrays)
    return folder, arrays


def open_ai(folder: Path) -> tuple[Path, Arrays]:
    """As OpenAI published it: no configuration, its own names of the vocabulary."""
    folder.mkdir()
    arrays = weights(OpenAIGPTConfig(**SHAPE), "OpenAIGPTModel")
    write_openai(folder, arrays)
    (folder / "encoder_bpe_40000.json").write_text(json.dumps(VOCAB))
    (folder / "vocab_40000.bpe").write_text("#version: 0.2\na b</w>\n")
    return folder, arrays


def assert_same(found: Any, wanted: Arrays) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name].data, array.data, name)


def with_prefix(arrays: Arrays) -> Arrays:
    return {f"transformer.{name}": array for name, array in arrays.items()}


def listing(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class TestModelFolder:
    def test_an_open_folder(self, tmp_path: Path) -> None:
        source, arrays = hugging_face(tmp_path / "in")
        folder = ModelFolder.open(source)
        assert_same(open_weights(convert(folder, tmp_path / "out").folder), arrays)
        made = convert(folder, tmp_path / "again", config=source / "config.json")
        assert_same(open_weights(made.folder), arrays)
        assert made.tokenizer == folder.has_tokenizer

    @pytest.mark.parametrize(
        "architecture",
        ["OpenAIGPTModel", "OpenAIGPTLMHeadModel", "OpenAIGPTForSequenceClassification"],
    )
    def test_safetensors(self, tmp_path: Path, architecture: str) -> None:
        source, arrays = hugging_face(tmp_path / "in", architecture, n_ctx=6, num_labels=3)
        (source / "generation_config.json").write_text("{}")
        (source / "optimizer.pt").write_text("x")
        before = listing(source)
        made = convert(source, tmp_path / "out")
        assert listing(source) == before
        assert_same(open_weights(made.folder), arrays)
        assert (made.renamed, made.dropped, made.added) == ({}, [], [])
        assert made.architecture == architecture
        assert made.parameters == sum(array.data.size for array in arrays.values())
        assert set(listing(made.folder)) == {
            "README.md",
            "config.json",
            "generation_config.json",
            "merges.txt",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json",
        }
        config = OpenAIGPTConfig.from_pretrained(made.folder)
        assert config.architectures == [architecture]
        assert (config.n_ctx, config.dtype) == (6, "float32")
        first, again = open_tokenizer(source), open_tokenizer(made.folder)
        assert again.fingerprint == first.fingerprint
        assert architecture in (made.folder / "README.md").read_text()

    def test_the_sources_card_goes_along(self, tmp_path: Path) -> None:
        source, _ = hugging_face(tmp_path / "in")
        (source / "README.md").write_text("# mine")
        made = convert(source, tmp_path / "out")
        assert (made.folder / "README.md").read_text() == "# mine"

    def test_an_old_bin(self, tmp_path: Path) -> None:
        source, arrays = hugging_face(tmp_path / "in")
        (source / "model.safetensors").unlink()
        state = {name: torch.from_numpy(array.data) for name, array in arrays.items()}
        state["lm_head.weight"] = state["transformer.tokens_embed.weight"].clone()
        torch.save({**state, **BUFFERS}, source / "pytorch_model.bin")
        made = convert(source, tmp_path / "out")
        assert made.source_format == "bin"
        assert_same(open_weights(made.folder), arrays)
        assert made.dropped == sorted([*BUFFERS, "lm_head.weight"])

    def test_a_bin_without_its_folder(self, tmp_path: Path) -> None:
        source, arrays = hugging_face(tmp_path / "in")
        bare = {name.removeprefix("transformer."): a.data for name, a in arrays.items()}
        file = tmp_path / "weights.bin"
        torch.save({name: torch.from_numpy(data) for name, data in bare.items()}, file)
        with pytest.raises(ConfigError, match=r"weights\.bin is a single weights file") as caught:
            convert(file, tmp_path / "out")
        assert "--config" in caught.value.hint
        for n, config in enumerate(
            [source, source / "config.json", OpenAIGPTConfig.from_pretrained(source)]
        ):
            made = convert(file, tmp_path / f"out{n}", config=config)
            assert_same(open_weights(made.folder), arrays)
            assert made.renamed["h.0.ln_1.weight"] == "transformer.h.0.ln_1.weight"
            assert not made.tokenizer
            assert not (made.folder / "vocab.json").exists()

    def test_double_heads_of_transformers_5(self, tmp_path: Path) -> None:
        """Its files hold the head and not the embedding."""
        source, arrays = hugging_face(tmp_path / "in", "OpenAIGPTDoubleHeadsModel")
        arrays["lm_head.weight"] = arrays.pop("transformer.tokens_embed.weight")
        write_arrays(source / "model.safetensors", arrays)
        made = convert(source, tmp_path / "out")
        assert made.renamed == {"lm_head.weight": "transformer.tokens_embed.weight"}
        arrays["transformer.tokens_embed.weight"] = arrays.pop("lm_head.weight")
        assert_same(open_weights(made.folder), arrays)

    def test_untied(self, tmp_path: Path) -> None:
        source, arrays = hugging_face(tmp_path / "in", tie_word_embeddings=False)
        assert_same(open_weights(convert(source, tmp_path / "out").folder), arrays)
        del arrays["lm_head.weight"]
        write_arrays(source / "model.safetensors", arrays)
        made = convert(source, tmp_path / "again")
        assert made.added == ["lm_head.weight"]
        found = open_weights(made.folder)["lm_head.weight"]
        np.testing.assert_array_equal(found.data, arrays["transformer.tokens_embed.weight"].data)

    def test_shards(self, tmp_path: Path) -> None:
        source, arrays = hugging_face(tmp_path / "in")
        made = convert(source, tmp_path / "out", max_shard_size="2KB")
        assert (made.folder / "model.safetensors.index.json").exists()
        assert_same(open_weights(made.folder), arrays)
        assert_same(open_weights(convert(made.folder, tmp_path / "one").folder), arrays)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
    def test_precision(self, tmp_path: Path, dtype: str) -> None:
        source, arrays = hugging_face(tmp_path / "in")
        made = convert(source, tmp_path / "out", dtype=dtype)
        assert made.dtypes == [dtype]
        assert OpenAIGPTConfig.from_pretrained(made.folder).dtype == dtype
        found = open_weights(made.folder)
        assert {array.dtype for array in found.values()} == {dtype}
        assert {name: array.data.shape for name, array in found.items()} == {
            name: array.data.shape for name, array in arrays.items()
        }

    def test_a_run(self, tmp_path: Path) -> None:
        hugging_face(tmp_path / "in")
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
        (tmp_path / "in").rename(tmp_path / "run" / "checkpoints" / "step-00000001")
        facts = {"best": "step-00000001", "last": "step-00000001"}
        (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
        assert convert(tmp_path / "run", tmp_path / "out").tokenizer

    def test_progress(self, tmp_path: Path) -> None:
        source, arrays = hugging_face(tmp_path / "in")
        seen: list[dict[str, Any]] = []
        convert(source, tmp_path / "out", reporter=lambda kind, **fields: seen.append(fields))
        assert seen[-1]["done"] == seen[-1]["total"] == len(arrays)


class TestOpenAI:
    def test_in(self, tmp_path: Path) -> None:
        source, arrays = open_ai(tmp_path / "in")
        with collecting() as told:
            made = convert(source, tmp_path / "out", n_head=2)
        assert told == []
        assert_same(open_weights(made.folder), with_prefix(arrays))
        config = OpenAIGPTConfig.from_pretrained(made.folder)
        assert {name: getattr(config, name) for name in SHAPE} == SHAPE
        settings = json.loads((made.folder / "tokenizer_config.json").read_text())
        assert settings["pre_tokenizer"] == "openai"
        assert settings["model_max_length"] == 6
        assert json.loads((made.folder / "vocab.json").read_text()) == VOCAB
        assert (made.folder / "merges.txt").read_text() == "#version: 0.2\na b</w>\n"
        tokenizer = open_tokenizer(made.folder)
        assert tokenizer.encode("ab") == [5]
        tokenizer.save_pretrained(tmp_path / "saved")
        for name in ("vocab.json", "merges.txt", "tokenizer.json"):
            assert (made.folder / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()
        saved = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
        assert settings.items() <= saved.items()

    def test_heads_are_assumed(self, tmp_path: Path) -> None:
        source, _ = open_ai(tmp_path / "in")
        with collecting() as told:
            made = convert(source, tmp_path / "out")
        assert [notice.kind for notice in told] == ["heads-assumed"]
        assert "assuming 1, with 64 of the 8 channels" in told[0].message
        assert OpenAIGPTConfig.from_pretrained(made.folder).n_head == 1

    def test_there_and_back(self, tmp_path: Path) -> None:
        source, arrays = hugging_face(tmp_path / "in")
        tokenizer = open_tokenizer(source)
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
        tokenizer.save_pretrained(source)
        there = convert(source, tmp_path / "there", to="openai")
        assert there.format == "openai"
        names = set(listing(there.folder))
        assert {"encoder_bpe_40000.json", "vocab_40000.bpe", "params_shapes.json"} <= names
        assert not {"vocab.json", "merges.txt", "model.safetensors"} & names
        assert open_tokenizer(there.folder).fingerprint == tokenizer.fingerprint
        back = convert(there.folder, tmp_path / "back")
        assert back.source_format == "openai"
        assert_same(open_weights(back.folder), arrays)
        assert OpenAIGPTConfig.from_pretrained(back.folder).n_head == 2
        assert open_tokenizer(back.folder).fingerprint == tokenizer.fingerprint

    @pytest.mark.parametrize(
        ("architecture", "options", "left", "after"),
        [
            ("OpenAIGPTForSequenceClassification", {}, "score.weight", "OpenAIGPTLMHeadModel"),
            (
                "OpenAIGPTLMHeadModel",
                {"tie_word_embeddings": False},
                "lm_head.weight",
                "OpenAIGPTModel",
            ),
        ],
    )
    def test_heads_are_left_out(
        self, tmp_path: Path, architecture: str, options: dict[str, Any], left: str, after: str
    ) -> None:
        source, _ = hugging_face(tmp_path / "in", architecture, **options)
        with collecting() as told:
            made = convert(source, tmp_path / "out", to="openai")
        assert [notice.kind for notice in told] == ["weights-left-out"]
        assert left in told[0].message
        assert made.dropped == [left]
        assert made.architecture == after

    @pytest.mark.skipif(not OPENAI_VOCABULARY.exists(), reason="GPT-1's vocabulary absent")
    def test_the_real_vocabulary(self, tmp_path: Path) -> None:
        """OpenAI's own shapes but for the width, and its own vocabulary."""
        shapes = json.loads((OPENAI_VOCABULARY / "params_shapes.json").read_text())
        assert shapes[:2] == [[512, 768], [40478, 768]]
        sizes = {"vocab_size": 40478, "n_positions": 512, "n_embd": 4, "n_layer": 12}
        arrays = weights(OpenAIGPTConfig(**sizes, n_head=1), "OpenAIGPTModel")
        source = tmp_path / "in"
        source.mkdir()
        write_openai(source, arrays)
        ours = json.loads((source / "params_shapes.json").read_text())
        wider = [[192 * n if n in (4, 12, 16) else n for n in shape] for shape in ours]
        assert wider == shapes
        for name in ("encoder_bpe_40000.json", "vocab_40000.bpe"):
            shutil.copyfile(OPENAI_VOCABULARY / name, source / name)
        made = convert(source, tmp_path / "out", n_head=1)
        tokenizer = open_tokenizer(made.folder)
        assert tokenizer.pre_tokenizer == "openai"
        assert tokenizer.encode("Mr. Smith") == [1682, tokenizer.get_vocab()["smith</w>"]]


class TestRefusals:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return hugging_face(tmp_path / "in")[0]

    @pytest.fixture
    def change(self, source: Path, tmp_path: Path) -> Callable[[Callable[[Arrays], Any]], None]:
        """Change the source's arrays, and see that nothing is written."""

        def changed(how: Callable[[Arrays], Any]) -> None:
            arrays = dict(open_weights(source))
            how(arrays)
            write_arrays(source / "model.safetensors", arrays)

        return changed

    @pytest.fixture(autouse=True)
    def nothing_written(self, tmp_path: Path) -> Any:
        yield
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob(".out*"))

    def test_output_exists(self, source: Path, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "mine.txt").touch()
        with pytest.raises(OutputExists, match="there already exists") as caught:
            convert(source, tmp_path / "there")
        assert "another folder" in caught.value.hint
        with pytest.raises(OutputExists):
            convert(source, source)

    @pytest.mark.parametrize(
        ("options", "message", "hint"),
        [
            ({"to": "onnx"}, r"to is 'onnx'; allowed: safetensors, openai", "safetensors"),
            ({"max_shard_size": "big"}, r"is 'big'; allowed: bytes", "MB"),
            ({"dtype": "int8"}, r"dtype is 'int8'; allowed: float32, bfloat16", "float32"),
            (
                {"to": "openai", "dtype": "float16"},
                r"dtype is 'float16'; allowed with to='openai': 'float32'",
                "float32",
            ),
            ({"n_head": 4}, r"n_head is 4; the configuration says 2", "omit n_head"),
        ],
    )
    def test_settings(
        self, source: Path, tmp_path: Path, options: Any, message: str, hint: str
    ) -> None:
        with pytest.raises(ConfigError, match=message) as caught:
            convert(source, tmp_path / "out", **options)
        assert hint in caught.value.hint

    def test_a_file_of_another_kind(self, source: Path, tmp_path: Path) -> None:
        message = r"ending of the weights file is '\.json'; allowed: \.safetensors, \.bin, \.h5"
        with pytest.raises(ConfigError, match=message):
            convert(source / "config.json", tmp_path / "out")

    def test_no_model(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="no model and no run"):
            convert(tmp_path, tmp_path / "out")
        with pytest.raises(CheckpointError, match="there is no folder"):
            convert(tmp_path / "none", tmp_path / "out")

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_no_numbers(self, change: Any, source: Path, tmp_path: Path, value: float) -> None:
        def break_one(arrays: Arrays) -> None:
            arrays["transformer.h.1.mlp.c_fc.weight"].data[3, 4] = value

        change(break_one)
        with pytest.raises(WeightsError, match=r"h\.1\.mlp\.c_fc\.weight contains NaN") as caught:
            convert(source, tmp_path / "out")
        assert "diverged" in caught.value.hint

    def test_shape(self, change: Any, source: Path, tmp_path: Path) -> None:
        odd = Array("float32", np.zeros((8, 9), np.float32))
        change(lambda arrays: arrays.update({"transformer.h.0.attn.c_proj.weight": odd}))
        with pytest.raises(WeightsError, match=r"c_proj.weight has shape \(8, 9\).*\(8, 8\)") as e:
            convert(source, tmp_path / "out")
        assert "belong together" in e.value.hint

    def test_dtype(self, change: Any, source: Path, tmp_path: Path) -> None:
        whole = Array("int8", np.zeros(8, np.int8))
        change(lambda arrays: arrays.update({"transformer.h.0.ln_1.bias": whole}))
        with pytest.raises(WeightsError, match=r"ln_1\.bias has the dtype int8; all") as caught:
            convert(source, tmp_path / "out")
        assert "quantized" in caught.value.hint

    def test_missing_and_left_over(self, change: Any, source: Path, tmp_path: Path) -> None:
        def swap(arrays: Arrays) -> None:
            arrays["decoder.weight"] = arrays.pop("transformer.h.0.ln_2.weight")

        change(swap)
        message = r"missing transformer\.h\.0\.ln_2\.weight; left over decoder\.weight"
        with pytest.raises(WeightsError, match=message) as caught:
            convert(source, tmp_path / "out")
        assert "belong together" in caught.value.hint
        shutil.rmtree(source)
        hugging_face(source)
        OpenAIGPTConfig(**{**SHAPE, "n_layer": 3}).save_pretrained(source)
        with pytest.raises(WeightsError, match=r"h\.2\.attn.* and 6 more; left over none"):
            convert(source, tmp_path / "out")

    def test_a_head_that_is_not_the_embedding(
        self, change: Any, source: Path, tmp_path: Path
    ) -> None:
        other = Array("float32", np.zeros((7, 8), np.float32))
        change(lambda arrays: arrays.update({"lm_head.weight": other}))
        with pytest.raises(WeightsError, match=r"lm_head\.weight and .* differ") as caught:
            convert(source, tmp_path / "out")
        assert "tie_word_embeddings" in caught.value.hint
        OpenAIGPTConfig(**SHAPE, architectures=["OpenAIGPTModel"]).save_pretrained(source)
        with pytest.raises(WeightsError, match="differ"):
            convert(source, tmp_path / "out")

    def test_too_large_for_the_dtype(self, change: Any, source: Path, tmp_path: Path) -> None:
        def grow(arrays: Arrays) -> None:
            arrays["transformer.h.1.ln_2.bias"].data[:] = 1e6

        change(grow)
        with pytest.raises(WeightsError, match=r"h\.1\.ln_2\.bias holds 1e\+06, which is too"):
            convert(source, tmp_path / "out", dtype="float16")

    def test_a_tokenizer_of_another_model(self, source: Path, tmp_path: Path) -> None:
        vocab = {**VOCAB, "c": 6, "c</w>": 7}
        OpenAIGPTTokenizerFast(vocab=vocab, merges=MERGES).save_pretrained(source)
        with pytest.raises(VocabularyMismatch, match=r"has 8 entries; .* has 7 rows") as caught:
            convert(source, tmp_path / "out")
        assert "trained with" in caught.value.hint

    def test_openais_vocabulary_without_unk(self, tmp_path: Path) -> None:
        source, _ = open_ai(tmp_path / "openai")
        file = source / "encoder_bpe_40000.json"
        file.write_text(
            json.dumps({"c" if token == "<unk>" else token: i for token, i in VOCAB.items()})
        )
        with pytest.raises(TokenizerError, match=r"openai has no '<unk>'") as caught:
            convert(source, tmp_path / "out", n_head=2)
        assert "fetch the files again" in caught.value.hint


def test_no_framework_is_loaded(tmp_path: Path) -> None:
    source, _ = hugging_face(tmp_path / "in")
    program = (
        "import sys, ogpt\n"
        f"ogpt.convert({str(source)!r}, {str(tmp_path / 'out')!r}, to='openai')\n"
        f"ogpt.convert({str(tmp_path / 'out')!r}, {str(tmp_path / 'back')!r}, dtype='bfloat16')\n"
        "loaded = {'torch', 'tensorflow', 'transformers', 'h5py', 'spacy'} & set(sys.modules)\n"
        "sys.exit(f'{loaded} loaded' if loaded else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
