"""Every format of weights, and every class from every class, with an exact report."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ogpt.errors import (
    WeightsError,
)
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import collecting
from ogpt.weights.model_weights import open_weights
from ogpt.weights.openai_files import write_openai
from tests.golden.formula import formula
from tests.model.small import KINDS, Kind, draw_ids, quietly, small, told

IDS = draw_ids(2, 6)
GOLDEN = Path(__file__).parents[1] / "golden"
OLD, NEW = GOLDEN / "transformers_4.57.6", GOLDEN / "transformers_5.23.0"
LM = OpenAIGPTLMHeadModel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


# formats


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shard", ["5GB", 4000, "4KB"])
def test_what_is_saved_is_loaded(kind: Kind, shard: int | str, tmp_path: Path) -> None:
    model = small(kind)
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors").exists() == (shard == "5GB")
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard != "5GB")
    loaded = quietly(kind, tmp_path)
    assert not loaded.training
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert torch.equal(loaded(IDS)[0], model(IDS)[0])
    assert loaded.config.architectures == [kind.__name__]
    assert loaded.config.dtype == "float32"
    assert model.config.architectures is None


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("prefixed", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_old_files_of_torch(kind: Kind, legacy: bool, prefixed: bool, tmp_path: Path) -> None:
    """Both generations of .bin, with buffers, with and without prefix, gamma and beta."""
    model = small(kind)
    state = {}
    for name, value in model.state_dict().items():
        bare = name.removeprefix("transformer.")
        heads = bare.startswith(("lm_head", "score", "multiple"))
        home = f"transformer.{bare}" if prefixed and not heads else bare
        if legacy and ".ln_" in home:
            home = home.replace(".weight", ".gamma").replace(".bias", ".beta")
        state[home] = value
    start = "transformer." if prefixed else ""
    state[f"{start}h.0.attn.bias"] = torch.tril(torch.ones(1, 1, 16, 16))
    state[f"{start}position_ids"] = torch.arange(16)
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    model.config.save_pretrained(tmp_path)
    assert torch.equal(quietly(kind, tmp_path)(IDS)[0], model(IDS)[0])


def test_openais_own_files(tmp_path: Path) -> None:
    base = small(OpenAIGPTModel)
    base.save_pretrained(tmp_path / "hf")
    (tmp_path / "npy").mkdir()
    write_openai(tmp_path / "npy", open_weights(tmp_path / "hf"))
    base.config.save_pretrained(tmp_path / "npy")
    assert torch.equal(quietly(OpenAIGPTModel, tmp_path / "npy")(IDS)[0], base(IDS)[0])
    lm = quietly(LM, tmp_path / "npy")
    assert lm.lm_head.weight is lm.transformer.tokens_embed.weight


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("bin/zip_lm", LM),
        ("bin/zip_bare", OpenAIGPTModel),
        ("bin/legacy_bare_2019", OpenAIGPTModel),
        ("bin/legacy_double_heads", OpenAIGPTDoubleHeadsModel),
        ("bin/sharded_lm", LM),
        ("tf/base", OpenAIGPTModel),
        ("tf/lm", LM),
        ("tf/double_heads", OpenAIGPTDoubleHeadsModel),
        ("tf/sequence_classification", OpenAIGPTForSequenceClassification),
    ],
)
def test_golden_files_of_transformers_4(place: str, kind: Kind) -> None:
    """Weights by the formula, exactly. The names that it counts are those of the class saved."""
    if place.startswith("tf"):
        pytest.importorskip("h5py")
    model = quietly(kind, OLD / place)
    shapes = {name: tuple(value.shape) for name, value in model.stored_tensors().items()}
    for name, values in formula(shapes).items():
        assert torch.equal(model.get_parameter(name), torch.from_numpy(values)), name


def test_a_pruned_model_of_transformers_4() -> None:
    model = quietly(LM, OLD / "pruned")
    assert model.config.pruned_heads == {0: [1], 1: [0, 2]}
    assert model.transformer.h[1].attn.c_attn.weight.shape == (8, 12)


def test_a_double_heads_file_of_version_5_keeps_its_embedding() -> None:
    """It holds lm_head.weight and no tokens_embed.weight; transformers 5 then draws a new one."""
    source = NEW / "double_heads"
    stored = load_file(source / "model.safetensors")
    assert "transformer.tokens_embed.weight" not in stored
    quietly(OpenAIGPTDoubleHeadsModel, source)
    for kind in KINDS:
        with collecting():
            model = kind.from_pretrained(source)
        assert torch.equal(model.get_input_embeddings().weight, stored["lm_head.weight"])


# other classes

HEADS = {
    OpenAIGPTModel: [],
    LM: [],  # the language-model head is the embedding
    OpenAIGPTDoubleHeadsModel: [
        "multiple_choice_head.summary.bias",
        "multiple_choice_head.summary.weight",
    ],
    OpenAIGPTForSequenceClassification: ["score.weight"],
}


@pytest.mark.parametrize("saved", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_class_from_every_class(saved: Kind, kind: Kind, tmp_path: Path) -> None:
    source = small(saved)
    source.save_pretrained(tmp_path)
    new = [] if kind is saved else HEADS[kind]
    unused = [] if kind is saved else HEADS[saved]
    if new or unused:
        model, info, message = told(kind, tmp_path)
        assert sorted(info["missing_keys"]) == new
        assert info["unexpected_keys"] == unused
        assert info["mismatched_keys"] == []
        assert message.startswith(f"{tmp_path}: ")
        assert all(name in message for name in (*new, *unused))
        assert ("randomly initialized, needs training" in message) == bool(new)
        assert ("in the file but not in the model" in message) == bool(unused)
    else:
        model = quietly(kind, tmp_path)
    states = source.base_model(IDS).last_hidden_state
    assert torch.equal(model.base_model(IDS).last_hidden_state, states)
    for name in new:  # initialized as in a new model
        value = model.get_parameter(name)
        assert not value.is_meta
        assert value.any() == ("bias" not in name)
        assert value.abs().max() < 5 * 0.3


def test_an_untied_head_that_the_file_has_not(folder: Path) -> None:
    """The embedding is used instead, with a notice."""
    model, info, _ = told(LM, folder, tie_word_embeddings=False)
    assert info["missing_keys"] == ["lm_head.weight"]
    assert model.lm_head.weight is not model.transformer.tokens_embed.weight
    assert torch.equal(model.lm_head.weight, model.transformer.tokens_embed.weight)


def test_an_untied_head_that_the_model_has_not(tmp_path: Path) -> None:
    small(tie_word_embeddings=False).save_pretrained(tmp_path)
    _, info, _ = told(LM, tmp_path, tie_word_embeddings=True)
    assert info["unexpected_keys"] == ["lm_head.weight"]
    _, info, _ = told(OpenAIGPTModel, tmp_path)
    assert info["unexpected_keys"] == ["lm_head.weight"]


def test_a_tied_head_that_is_stored_twice(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["transformer.tokens_embed.weight"].clone()
    save_file(tensors, folder / "model.safetensors")
    quietly(LM, folder)
    quietly(OpenAIGPTModel, folder)


@pytest.mark.parametrize("rows", [40, 39])
def test_another_head_beside_a_tied_embedding(rows: int, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = torch.zeros(rows, 16)
    save_file(tensors, folder / "model.safetensors")
    _, info, _ = told(LM, folder)
    assert info["unexpected_keys"] == ["lm_head.weight"]


def test_another_number_of_labels(tmp_path: Path) -> None:
    small(OpenAIGPTForSequenceClassification).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"score\.weight has shape \(3, 16\); .* \(5, 16\)") as e:
        OpenAIGPTForSequenceClassification.from_pretrained(tmp_path, num_labels=5)
    assert "ignore_mismatched_sizes=True" in e.value.hint
    model, info, message = told(
        OpenAIGPTForSequenceClassification, tmp_path, num_labels=5, ignore_mismatched_sizes=True
    )
    assert info["mismatched_keys"] == [("score.weight", (3, 16), (5, 16))]
    assert info["missing_keys"] == info["unexpected_keys"] == []
    assert "of another shape, so randomly initialized: score.weight (3, 16) for (5, 16)" in message
    assert model(IDS).logits.shape == (2, 5)
    assert model.score.weight.any()


def test_an_embedding_of_another_size(folder: Path) -> None:
    model, info, _ = told(LM, folder, vocab_size=50, ignore_mismatched_sizes=True)
    assert [name for name, _, _ in info["mismatched_keys"]] == ["transformer.tokens_embed.weight"]
    assert model.lm_head.weight is model.transformer.tokens_embed.weight
    assert model(IDS).logits.shape == (2, 6, 50)
