import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ogpt
from ogpt import notices
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import BackendMissing, CheckpointError, VocabularyMismatch
from ogpt.folders import model_folder
from ogpt.folders.model_folder import ModelFolder
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.workflows.add_pad_token import add_pad_token
from ogpt.workflows.load import load
from ogpt.workflows.push_to_hub import push_to_hub
from tests.openai_folder import openai_folder


def tokenizer_of(folder: Path) -> BPETokenizer:
    return ModelFolder.open(folder).tokenizer


VOCAB = {"<unk>": 0, "a": 1, "a</w>": 2}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for name in ("step-00000001", "step-00000002"):
        folder = tmp_path / "checkpoints" / name
        OpenAIGPTConfig(vocab_size=3, n_embd=4, n_head=1, n_layer=1).save_pretrained(folder)
        OpenAIGPTTokenizerFast(vocab=VOCAB, merges=[]).save_pretrained(folder)
        (folder / "model.safetensors").touch()
    return tmp_path


def point(run: Path, best: str | None, last: str | None) -> None:
    (run / "run.json").write_text(json.dumps({"best": best, "last": last}))


def test_a_run_stands_for_its_best_else_its_last(run: Path) -> None:
    point(run, "step-00000001", "step-00000002")
    assert ModelFolder.open(run).path.name == "step-00000001"
    point(run, None, "step-00000002")
    assert ModelFolder.open(run).path.name == "step-00000002"
    assert ModelFolder.open(run).config.vocab_size == 3
    assert len(ModelFolder.open(str(run)).tokenizer) == 3


def test_a_folder_is_opened_once(run: Path) -> None:
    point(run, "step-00000001", None)
    folder = ModelFolder.open(run)
    assert folder.path.name == "step-00000001"
    assert folder.run == {"best": "step-00000001", "last": None}
    assert ModelFolder.open(folder) is folder
    assert folder.config is folder.config
    assert folder.tokenizer is folder.tokenizer
    assert (folder.quantized, folder.has_tokenizer) == (None, True)
    assert folder.labels == ["LABEL_0", "LABEL_1"]
    assert ModelFolder.open(folder.path).run is None
    with notices.collecting() as given:
        ModelFolder.open(folder, n_head=2, revision="v1", subfolder="")
    assert [one.fields["setting"] for one in given] == ["n_head", "revision"]


def test_a_models_configuration_is_its_own(run: Path) -> None:
    """What changes a loaded model leaves the folder, which may be loaded again, as it was."""
    folder = ModelFolder.open(run / "checkpoints" / "step-00000001")
    OpenAIGPTLMHeadModel(folder.config).save_pretrained(folder.path)
    tokenizer, model = load(folder)
    add_pad_token(tokenizer, model)
    assert (model.config.vocab_size, folder.config.vocab_size) == (4, 3)


def test_a_run_file_cannot_point_outside(run: Path) -> None:
    point(run, "../../etc", None)
    with pytest.raises(CheckpointError, match=r"'\.\./\.\./etc' is not the name of a checkpoint"):
        ModelFolder.open(run)


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"finished": true, "best_run": "../out"}', '{"finished": true, "best_run": 7}'],
)
def test_a_damaged_sweep(tmp_path: Path, text: str) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"sweep\.json is damaged"):
        ModelFolder.open(tmp_path)
    (tmp_path / "sweep.json").unlink()
    (tmp_path / "sweep.json").mkdir()
    with pytest.raises(CheckpointError, match=r"sweep\.json cannot be read"):
        ModelFolder.open(tmp_path)


def test_a_run_without_checkpoint(run: Path) -> None:
    point(run, None, None)
    with pytest.raises(CheckpointError, match="no checkpoint yet") as caught:
        ModelFolder.open(run)
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("text", ["{", "{}", "7", '{"best": 5, "last": null}'])
def test_a_damaged_run_file(run: Path, text: str) -> None:
    (run / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json is damaged") as caught:
        ModelFolder.open(run)
    assert "checkpoints" in caught.value.hint


def test_no_folder_and_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no folder") as caught:
        ModelFolder.open(tmp_path / "none")
    assert "model.safetensors" in caught.value.hint
    with pytest.raises(CheckpointError, match="no model and no run") as caught:
        ModelFolder.open(tmp_path)
    assert "model.safetensors" in caught.value.hint


def test_no_path_at_all() -> None:
    with pytest.raises(
        CheckpointError, match=r"the model is None; allowed: a folder, or"
    ) as caught:
        ogpt.load(None)  # type: ignore[arg-type]  # the point of the test
    assert "model folder" in caught.value.hint


def test_a_file_in_place_of_a_folder(run: Path) -> None:
    file = run / "checkpoints" / "step-00000001" / "model.safetensors"
    with pytest.raises(CheckpointError, match=r"model\.safetensors is a file, not a mod") as caught:
        ogpt.load(file)
    assert "ogpt convert FILE OUT" in caught.value.hint


def test_a_tokenizer_larger_than_the_model(run: Path) -> None:
    folder = run / "checkpoints" / "step-00000001"
    OpenAIGPTConfig(vocab_size=2, n_embd=4, n_head=1, n_layer=1).save_pretrained(folder)
    with pytest.raises(VocabularyMismatch, match=r"has 3 entries.*has 2 rows") as caught:
        tokenizer_of(folder)
    assert "trained with" in caught.value.hint


@pytest.mark.parametrize(
    ("architectures", "loaded"),
    [
        (None, "OpenAIGPTLMHeadModel"),
        (["OpenAIGPTModel"], "OpenAIGPTLMHeadModel"),
        (["TFOpenAIGPTLMHeadModel"], "OpenAIGPTLMHeadModel"),
        (["OpenAIGPTDoubleHeadsModel"], "OpenAIGPTDoubleHeadsModel"),
        (["OpenAIGPTForSequenceClassification"], "OpenAIGPTForSequenceClassification"),
    ],
)
def test_the_class_that_the_configuration_names(
    run: Path, architectures: list[str] | None, loaded: str
) -> None:
    folder = run / "checkpoints" / "step-00000001"
    saved = (architectures or ["OpenAIGPTLMHeadModel"])[0].removeprefix("TF")
    config = OpenAIGPTConfig(vocab_size=3, n_embd=4, n_head=1, n_layer=1)
    getattr(ogpt, saved)(config).save_pretrained(folder)
    config.architectures = architectures
    config.save_pretrained(folder)
    tokenizer, model = load(folder, dtype="bfloat16")
    assert type(model).__name__ == loaded
    assert (len(tokenizer), model.dtype) == (3, torch.bfloat16)


def test_a_class_of_another_architecture(run: Path) -> None:
    folder = run / "checkpoints" / "step-00000001"
    config = OpenAIGPTConfig(vocab_size=3, n_embd=4, n_head=1, n_layer=1, architectures=["Bert"])
    config.save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"is a Bert; allowed: OpenAIGPTLMHead") as caught:
        load(folder)
    assert "architectures" in caught.value.hint


def test_hub_ids_and_subfolders(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fetched(path: str, **options: Any) -> Path:
        asked.update(options, path=path)
        return run / "checkpoints" / "step-00000001"

    monkeypatch.setattr(model_folder, "model_folder", fetched)
    assert ModelFolder.open("me/mine", revision="v1").path == fetched("me/mine")
    assert asked == {"path": "me/mine", "revision": "v1"}
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=3, n_embd=4, n_head=1, n_layer=1))
    model.save_pretrained(fetched(""))
    load("me/mine", token="t", subfolder="a")
    assert asked["token"] == "t"


def kinds_of(told: list[notices.Notice]) -> list[str]:
    """Without that of a machine that has no spaCy."""
    return [notice.kind for notice in told if notice.kind != "bert-words"]


def test_openais_files_load_as_they_are(tmp_path: Path) -> None:
    folder, model = openai_folder(tmp_path)
    with notices.collecting() as told:
        tokenizer, loaded = ogpt.load(folder)
    assert kinds_of(told) == ["heads-assumed"]
    ids = torch.tensor([[0, 2, 1]])
    assert torch.equal(loaded(ids).logits, model(ids).logits)
    assert len(tokenizer) == 3
    assert loaded.config.n_positions == 8


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda folder: ogpt.pipeline("text-generation", folder).model.config.n_embd, 8),
        (lambda folder: ogpt.info(folder)["model"]["n_embd"], 8),
        (lambda folder: ogpt.info(folder)["tokenizer"]["entries"], 3),
        (lambda folder: ogpt.evaluate(folder, text="a a a").tokens, 3),
        (lambda folder: ogpt.score(folder, "a a a")[0].tokens, ["a</w>", "a</w>"]),
        (lambda folder: len(ogpt.generate(folder, "a", max_new_tokens=2)[0].ids), 2),
    ],
)
def test_openais_files_serve_wherever_a_folder_does(
    use: Callable[[Path], Any], expected: object, tmp_path: Path
) -> None:
    folder, _ = openai_folder(tmp_path)
    with notices.collecting() as told:
        assert use(folder) == expected
    assert set(kinds_of(told)) <= {"heads-assumed", "native-decoder-unused"}
    assert kinds_of(told).count("heads-assumed") == 1


def test_openais_files_are_not_pushed(tmp_path: Path) -> None:
    folder, _ = openai_folder(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"OpenAI's files of 2018 without a config\.json"
    ) as caught:
        push_to_hub(folder, "me/mine")
    assert "ogpt convert" in caught.value.hint
    assert not (folder / "README.md").exists()


def test_shards_make_a_checkpoint_whole(run: Path) -> None:
    point(run, "step-00000001", None)
    folder = run / "checkpoints" / "step-00000001"
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")
    assert ModelFolder.open(run).path == folder


def test_push(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[Any] = []

    def push_folder(folder: Path, repo_id: str, **options: Any) -> str:
        pushed.extend([folder.name, repo_id, options])
        return "https://hub/commit"

    monkeypatch.setattr("ogpt.workflows.push_to_hub.push_folder", push_folder)
    point(run, "step-00000001", None)
    options = {"private": True, "token": "t", "revision": "v", "commit_message": "First"}
    assert push_to_hub(run, "me/mine", **options) == "https://hub/commit"  # type: ignore[arg-type]  # of several types
    assert pushed == ["step-00000001", "me/mine", options]
    card = run / "checkpoints" / "step-00000001" / "README.md"
    assert "GPT-1 language model" in card.read_text()
    card.write_text("mine")
    push_to_hub(run, "me/mine")
    assert card.read_text() == "mine"


def test_without_torch(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point(run, "step-00000001", None)
    monkeypatch.setitem(sys.modules, "ogpt.model.heads", None)
    with pytest.raises(BackendMissing, match="needs PyTorch") as caught:
        load(run)
    assert caught.value.hint == "pip install 'ogpt[torch]'"


def test_an_incomplete_best_checkpoint_is_passed_over(run: Path) -> None:
    point(run, "step-00000001", "step-00000002")
    (run / "checkpoints" / "step-00000001" / "model.safetensors").unlink()
    with notices.collecting() as told:
        assert ModelFolder.open(run).path.name == "step-00000002"
    assert [notice.kind for notice in told] == ["checkpoint-set-aside"]
    assert "step-00000001 is incomplete" in told[0].message
    assert "no model.safetensors" in told[0].message


def test_no_checkpoint_is_complete(run: Path) -> None:
    point(run, "step-00000001", "step-00000007")
    (run / "checkpoints" / "step-00000001" / "config.json").unlink()
    named = "step-00000001, step-00000007"
    with notices.collecting(), pytest.raises(CheckpointError, match=named) as caught:
        ModelFolder.open(run)
    assert "--resume" in caught.value.hint


def test_another_tokenizer_of_the_same_size(run: Path) -> None:
    folder = run / "checkpoints" / "step-00000001"
    fingerprint = ModelFolder.open(folder).tokenizer.fingerprint
    shape = {"vocab_size": 3, "n_embd": 4, "n_head": 1, "n_layer": 1}
    OpenAIGPTConfig(**shape, tokenizer_fingerprint=fingerprint).save_pretrained(folder)
    tokenizer_of(folder)
    swapped = OpenAIGPTTokenizerFast(vocab={"<unk>": 0, "a</w>": 1, "a": 2}, merges=[])
    swapped.save_pretrained(folder)
    with pytest.raises(VocabularyMismatch, match=fingerprint[:12]) as caught:
        tokenizer_of(folder)
    assert "copy the tokenizer files" in caught.value.hint
    assert "delete tokenizer_fingerprint from config.json" in caught.value.hint


def test_tokenizer_and_model_get_a_pad_token_together(run: Path) -> None:
    folder = run / "checkpoints" / "step-00000001"
    tokenizer = ModelFolder.open(folder).tokenizer
    config = OpenAIGPTConfig.from_pretrained(folder)
    model = OpenAIGPTLMHeadModel(config)
    before = model.transformer.tokens_embed.weight.detach().clone()
    assert add_pad_token(tokenizer, model) == 3
    assert tokenizer.pad_token_id == model.config.pad_token_id == 3
    assert (config.vocab_size, model.config.vocab_size) == (3, 4)  # the caller's is as it was
    weight = model.transformer.tokens_embed.weight
    assert model.lm_head.weight is weight
    assert torch.equal(weight[:3], before)
    torch.testing.assert_close(weight[3], before.mean(0))
    batch = tokenizer(["a", "a a a"], padding=True, return_tensors="pt")
    assert model(**batch).logits.shape == (2, 3, 4)

    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    again, loaded = load(folder)
    assert again.pad_token_id == loaded.config.pad_token_id == 3
    assert add_pad_token(again, loaded) == 3  # twice is once
    assert loaded.config.vocab_size == 4


def test_a_pad_token_for_a_model_of_another_vocabulary(run: Path) -> None:
    tokenizer = ModelFolder.open(run / "checkpoints" / "step-00000001").tokenizer
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=2, n_embd=4, n_head=1, n_layer=1))
    with pytest.raises(VocabularyMismatch, match=r"has 3 entries.*has 2 rows"):
        add_pad_token(tokenizer, model)
    assert tokenizer.pad_token is None


def test_more_tokens_after_a_pad_token(tmp_path: Path) -> None:
    tokenizer = OpenAIGPTTokenizerFast(vocab=VOCAB, merges=[])
    config = OpenAIGPTConfig(vocab_size=3, n_embd=4, n_head=1, n_layer=1)
    model = OpenAIGPTLMHeadModel(config)
    ogpt.add_pad_token(tokenizer, model)
    tokenizer.add_special_tokens({"cls_token": "[CLS]"})
    model.resize_token_embeddings(len(tokenizer))
    for saved in (tokenizer, model):
        saved.save_pretrained(tmp_path)
    read, loaded = ogpt.load(tmp_path)
    assert len(read) == loaded.config.vocab_size == 5


def test_a_model_folder_is_a_path_to_whoever_takes_one(run: Path) -> None:
    folder = ModelFolder.open(run / "checkpoints" / "step-00000001")
    assert OpenAIGPTConfig.from_pretrained(folder).vocab_size == 3
    assert len(OpenAIGPTTokenizerFast.from_pretrained(folder)) == 3
