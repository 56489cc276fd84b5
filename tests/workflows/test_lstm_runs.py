"""An LSTM through all that a model goes through: pre-training, tasks, scores, text, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ogpt
from ogpt.config.finetune_settings import FinetuneSection
from ogpt.decoding.choice import open_decoder
from ogpt.errors import ConfigError
from ogpt.folders.model_folder import ModelFolder
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.lstm import LSTMModel
from ogpt.notices import collecting
from ogpt.tasks.example import Family
from ogpt.tasks.task_data import TaskData
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tasks.task_tokens import add_task_tokens
from ogpt.training.torch_task_model import start_task_model
from ogpt.training.torch_task_predictor import TorchTaskPredictor
from tests.tasks.small import examples, tokenizer
from tests.training.corpus import write_text
from tests.workflows.finetuning import FAST, task_files

UNITS = 24
SETTINGS = [
    "model.network=lstm",
    f"model.lstm_units={UNITS}",
    "model.n_embd=16",
    "model.n_positions=32",
    "tokenizer.vocab_size=120",
    "training.max_steps=6",
    "training.batch_size=4",
    "training.micro_batch_size=2",
    "training.warmup_steps=2",
    "training.learning_rate=1e-2",
    "training.eval_every=3",
    "training.checkpoint_every=3",
    "training.threads=1",
    "training.compile=off",
]
NAMES = {
    "classification": TaskSpec(
        family="classification", labels=("bad", "good"), metrics=("accuracy",)
    ),
    "entailment": TaskSpec(family="entailment", labels=("no", "yes"), metrics=("accuracy",)),
    "similarity": TaskSpec(family="similarity", problem="regression", metrics=("pearson",)),
    "multiple-choice": TaskSpec(family="multiple-choice", metrics=("accuracy",)),
}


def kinds(notices: Any) -> set[str]:
    return {notice.kind for notice in notices}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    write_text(file)
    return file


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lstm") / "run"
    with collecting() as notices:
        ogpt.pretrain(data=[str(text)], out=out, overrides=SETTINGS)
    assert kinds(notices) == {"only-ogpt"}
    return out


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that knows the words of the tasks."""
    folder, words = tmp_path_factory.mktemp("base"), tokenizer()
    torch.manual_seed(0)
    config = ogpt.LSTMConfig(vocab_size=len(words), n_positions=32, n_embd=16, lstm_units=UNITS)
    with collecting():
        ogpt.OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def test_a_run_is_pre_trained(trained: Path) -> None:
    events = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "eval"]
    assert losses[-1] < losses[0]
    folder = ModelFolder.open(trained)
    assert isinstance(folder.config, ogpt.LSTMConfig)
    assert folder.config.lstm_units == UNITS
    assert folder.architecture == "OpenAIGPTLMHeadModel"
    card = (folder.path / "README.md").read_text("utf-8")
    assert "# An LSTM language model" in card
    assert "| architecture | LSTMLMHeadModel |" in card
    assert f"1 LSTM layer of {UNITS} units, 16 channels, 32 positions" in card
    assert "with ogpt only: it is an LSTM, not a transformer" in card
    assert "openai-gpt" not in card
    found = ogpt.info(trained)
    assert found["model"]["model_type"] == "ogpt-lstm"
    assert found["settings"]["model"]["network"] == "lstm"
    assert found["parameters"] == ogpt.load(trained)[1].num_parameters()


def test_a_stopped_run_resumes_bit_for_bit(trained: Path, text: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def stop(event: str, **fields: Any) -> None:
        if event == "checkpoint" and fields["step"] == 3:
            raise KeyboardInterrupt

    with collecting(), pytest.raises(KeyboardInterrupt):
        ogpt.pretrain(data=[str(text)], out=out, overrides=SETTINGS, reporter=stop)
    with collecting():
        assert ogpt.pretrain(out=out, resume=True).steps == 6
    one, other = (
        load_file(run / "checkpoints" / "step-00000006" / "model.safetensors")
        for run in (trained, out)
    )
    assert one.keys() == other.keys()
    for name, weight in one.items():
        assert torch.equal(weight, other[name]), name


def test_it_is_planned_and_continued_from(trained: Path, text: Path, tmp_path: Path) -> None:
    with collecting():
        plan = ogpt.plan(data=[str(text)], out=tmp_path / "plan", overrides=SETTINGS)
        config = ModelFolder.open(trained).config
        assert plan.parameters == ogpt.load(trained)[1].num_parameters()
        per_token = 6 * (4 * UNITS * (16 + UNITS) + UNITS * 16 + config.vocab_size * 16)
        assert plan.flops == 6 * 4 * 32 * per_token
        settings = [name for name in SETTINGS if name.startswith("training.")]
        out = tmp_path / "more"
        ogpt.pretrain(data=[str(text)], out=out, init=trained, overrides=settings)
        assert isinstance(ModelFolder.open(out).config, ogpt.LSTMConfig)


def test_it_is_scored_and_generates(trained: Path) -> None:
    with collecting() as notices:
        measured = ogpt.evaluate(trained, text="abc fed gab " * 30)
        (scored,) = ogpt.score(trained, "abc fed gab")
        written = ogpt.generate(trained, "abc fed", max_new_tokens=40, do_sample=True, seed=1)
    assert kinds(notices) == {"native-decoder-unused", "context-slides"}
    assert "it is an LSTM" in str(notices[0].message)
    words, model = ogpt.load(trained)
    ids = torch.tensor([words.encode("abc fed gab")])
    expected = -model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
    assert scored.log_prob == pytest.approx(expected, rel=1e-4)
    assert measured.perplexity > 1
    with collecting():
        again = ogpt.generate(trained, "abc fed", max_new_tokens=40, do_sample=True, seed=1)
    assert [one.text for one in written] == [one.text for one in again]


def test_pipelines(trained: Path) -> None:
    write = ogpt.pipeline("text-generation", trained)
    assert write("abc", max_new_tokens=3)[0]["generated_text"].startswith("abc")
    features = ogpt.pipeline("feature-extraction", trained, batch_size=2)
    alone, batched = features("abc"), features(["abc", "abc fed gab"])[0]
    assert np.allclose(alone, batched, atol=1e-5)
    bare = ogpt.pipeline(
        "feature-extraction", ogpt.load(trained)[1].base_model, ogpt.load(trained)[0]
    )
    assert isinstance(bare.model, LSTMModel)
    assert np.allclose(alone, bare("abc"), atol=1e-5)


# tasks


@pytest.mark.parametrize("family", NAMES)
def test_each_family_is_fine_tuned_and_predicted(
    family: Family, base: Path, tmp_path: Path
) -> None:
    rows = tuple(examples(family, 16))
    data = TaskData(NAMES[family], rows, {"valid": rows[:8]}, {})
    with collecting() as notices:
        result = ogpt.finetune(
            model=base, out=tmp_path / "run", source=data, overrides=[*FAST, "finetune.epochs=1"]
        )
    assert "only-ogpt" in kinds(notices)
    folder = ModelFolder.open(result.out)
    assert isinstance(folder.config, ogpt.LSTMConfig)
    predictor = TorchTaskPredictor(folder, 1)
    assert not predictor.shares  # no mask hides one choice from another
    logits = predictor.predict(rows).logits
    assert np.isfinite(logits).all()
    alone = [predictor.predict([row]).logits[0] for row in rows[:3]]
    assert np.allclose(logits[:3], alone, atol=1e-5)
    events = [json.loads(line) for line in (result.out / "metrics.jsonl").read_text().splitlines()]
    assert all("lm_loss" in event for event in events if event["event"] == "train")


def test_a_task_is_learned_and_used(base: Path, tmp_path: Path) -> None:
    files = task_files(tmp_path)
    with collecting():
        result = ogpt.finetune(
            model=base,
            out=tmp_path / "run",
            family="classification",
            **files,
            overrides=[*FAST, "finetune.epochs=6", "finetune.learning_rate=2e-2"],
        )
        assert result.test["test"]["accuracy"].value > 0.8
        found = ogpt.evaluate(result.out, [str(files["test"])])
        assert found.scores["accuracy"].value == result.test["test"]["accuracy"].value
        (one,) = ogpt.predict(result.out, ["a good film"])
        label = ogpt.pipeline("text-classification", result.out)("a good film")[0]
    assert (one.label, one.scores[one.label]) == (label["label"], pytest.approx(label["score"]))


def start(base: Path, **settings: Any) -> Any:
    words = tokenizer()
    add_task_tokens(words)
    spec = NAMES["classification"]
    section = FinetuneSection(seed=5, **settings)
    device = torch.device("cpu")
    return start_task_model(ModelFolder.open(base), spec, words, section, device)


def test_what_is_transferred_and_frozen(base: Path) -> None:
    """The layer counts as one block: -1 transfers nothing, 0 the embedding, 1 and more all."""
    held = load_file(base / "model.safetensors")

    def transferred(model: Any) -> set[str]:
        return {
            name.removeprefix("transformer.").partition(".")[0]
            for name, weight in model.named_parameters()
            if weight.ndim > 1
            and name in held
            and torch.equal(weight[: len(held[name])], held[name])
        }

    assert transferred(start(base, n_transfer=0)) == {"tokens_embed"}
    assert transferred(start(base, n_transfer=1)) == {"tokens_embed", "h"}
    assert transferred(start(base)) == {"tokens_embed", "h"}
    assert transferred(start(base, n_transfer=-1)) == set()
    model = start(base, frozen_layers=1)
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert frozen == {name for name in dict(model.named_parameters()) if ".h.0." in name}
    with pytest.raises(ConfigError, match="frozen_layers is 2; allowed: 0 to 1"):
        start(base, frozen_layers=2)


# refusals


def test_the_recipe_of_2018_is_refused(base: Path, tmp_path: Path) -> None:
    files = task_files(tmp_path)
    with pytest.raises(ConfigError, match="recipe is 2018-code and the model is an LSTM") as caught:
        ogpt.finetune(
            model=base, out=tmp_path / "run", recipe="2018-code", family="classification", **files
        )
    assert "omit --recipe" in caught.value.hint


def test_packed_windows_are_refused(text: Path, base: Path, tmp_path: Path) -> None:
    packed = "data.windows=packed"
    for options in (
        {"overrides": [*SETTINGS, packed]},
        {"overrides": [packed], "init": base},
    ):
        with pytest.raises(ConfigError, match="'packed' and the network is an LSTM") as caught:
            ogpt.pretrain(data=[str(text)], out=tmp_path / "run", **options)
        assert "data.windows" in caught.value.hint


def test_native_decoder_static_decoder_quantization_and_openai_are_refused(
    base: Path, tmp_path: Path
) -> None:
    with collecting():
        assert isinstance(open_decoder(base), TorchDecoder)
    for options in ({"decoder": "native"}, {"decoder": "torch", "deterministic": True}):
        with pytest.raises(ConfigError, match="it is an LSTM, not a transformer"):
            open_decoder(base, **options)
    for to in ("int8", "bf16"):
        with pytest.raises(ConfigError, match="is an LSTM; allowed: a transformer"):
            ogpt.quantize(base, tmp_path / "quantized", to=to)
    with pytest.raises(ConfigError, match="to is 'openai' and the model is an LSTM"):
        ogpt.convert(base, tmp_path / "openai", to="openai")
    assert not [name for name in ("quantized", "openai") if (tmp_path / name).exists()]


def test_it_is_converted_to_another_dtype(base: Path, tmp_path: Path) -> None:
    made = ogpt.convert(base, tmp_path / "half", dtype="bfloat16")
    assert made.architecture == "OpenAIGPTLMHeadModel"
    folder = ModelFolder.open(made.folder)
    assert isinstance(folder.config, ogpt.LSTMConfig)
    assert folder.config.architectures == ["LSTMLMHeadModel"]
    one, other = (load_file(path / "model.safetensors") for path in (base, made.folder))
    assert all(torch.equal(weight.bfloat16(), other[name]) for name, weight in one.items())


def test_examples_without_a_mask_are_read_as_with_one(base: Path) -> None:
    """Padding stands on the right, so training needs no mask; the pipelines pass one."""
    model = ogpt.load(base)[1]
    ids = torch.tensor([[5, 6, 7, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    bare, masked = model.transformer(ids)[0], model.transformer(ids, attention_mask=mask)[0]
    assert torch.allclose(bare[:, :3], masked[:, :3], atol=1e-6)
    assert not torch.allclose(bare[:, 3:], masked[:, 3:], atol=1e-6)
