"""What a fine-tuning starts from, what it trains of it, and how it can fail."""

import numpy as np
import pytest
import torch
import transformers

import ogpt
from ogpt.config.finetune_settings import FinetuneSettings
from ogpt.config.loader import load_settings_of
from ogpt.errors import TrainingDiverged, VocabularyMismatch
from ogpt.folders.model_folder import ModelFolder
from ogpt.tasks.task_source import TaskSource
from ogpt.training.optimizer_state import open_optimizer
from ogpt.workflows.finetune_setup import FinetuneRequest, make_finetune_step, set_up_finetune
from tests.tasks.small import tokenizer
from tests.workflows.finetuning import FAST, base_model, task_files

ONE_STEP = [*FAST, "finetune.max_steps=1", "finetune.learning_rate=1e-9"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return {"family": "classification", **task_files(tmp_path_factory.mktemp("files"))}


def block_after(model, files, out, **changes):
    """A weight of the transformer after one step that moves nothing visibly."""
    ogpt.finetune(model=model, out=out, **{**files, "overrides": ONE_STEP, **changes})
    return ModelFolder.open(out).weights["transformer.h.0.mlp.c_fc.weight"].data


def test_models_of_all_origins_start_alike(base, files, tmp_path):
    theirs = transformers.OpenAIGPTLMHeadModel.from_pretrained(base)
    theirs.save_pretrained(tmp_path / "hf")
    tokenizer().save_pretrained(tmp_path / "hf")
    published = ogpt.convert(base, tmp_path / "openai", to="openai").folder
    ours = block_after(base, files, tmp_path / "ours")
    for name, model in (("hf", tmp_path / "hf"), ("openai", published)):
        found = block_after(model, files, tmp_path / f"from-{name}")
        assert np.allclose(found, ours, atol=1e-6), name


def test_a_fine_tuned_model_can_be_fine_tuned_again(base, files, tmp_path):
    block_after(base, files, tmp_path / "first")
    before = ModelFolder.open(tmp_path / "first").config.vocab_size
    block_after(tmp_path / "first", files, tmp_path / "second")
    assert ModelFolder.open(tmp_path / "second").config.vocab_size == before


def test_a_tokenizer_of_another_vocabulary_is_refused(base, files, tmp_path):
    other = tokenizer()
    other.add_tokens([f"new{number}" for number in range(5)])
    ogpt.OpenAIGPTLMHeadModel.from_pretrained(base).save_pretrained(tmp_path / "mixed")
    other.save_pretrained(tmp_path / "mixed")
    with pytest.raises(VocabularyMismatch, match=r"has \d+ entries; the model in .*mixed has"):
        ogpt.finetune(model=tmp_path / "mixed", out=tmp_path / "out", **files)


def test_the_caller_s_model_folder_keeps_its_tokenizer(base, files, tmp_path):
    folder = ModelFolder.open(base)
    before = len(folder.tokenizer)
    block_after(folder, files, tmp_path / "out")
    assert len(folder.tokenizer) == before
    assert folder.tokenizer.template is None


def test_a_run_that_diverges_is_stopped(base, files, tmp_path):
    overrides = [*FAST, "finetune.learning_rate=1e38"]
    with pytest.raises(TrainingDiverged, match="learning rate") as caught:
        ogpt.finetune(model=base, out=tmp_path / "out", overrides=overrides, **files)
    assert "lower learning_rate" in caught.value.hint


def step_for(base, files, out, *overrides):
    settings = load_settings_of(FinetuneSettings, overrides=[*FAST, *overrides])
    request = FinetuneRequest(model=base, out=out, source=TaskSource(**files))
    setup = set_up_finetune(request, settings)
    return setup, make_finetune_step(setup)


def test_micro_batches_make_the_same_step(base, files, tmp_path):
    settings = ("finetune.classifier_dropout=0.0", "finetune.precision=float32")
    measures, gradients = [], []
    for size in (8, 2):
        setup, step = step_for(base, files, tmp_path, *settings)
        batches = [setup.train.batch(first, size) for first in range(0, 8, size)]
        measures.append(step.train(batches, 0, 1e-3).measures)
        gradients.append({name: p.grad for name, p in step.model.named_parameters()})
    assert measures[0] == pytest.approx(measures[1], rel=1e-5)
    for name, gradient in gradients[0].items():  # Adam would enlarge the noise of small ones
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-3, atol=1e-6), name


def test_frozen_layers_have_no_moments(base, files, tmp_path):
    setup, step = step_for(base, files, tmp_path / "none", "finetune.frozen_layers=1")
    step.train([setup.train.batch(0, 8)], 0, 1e-3)
    step.save(tmp_path)
    state = open_optimizer(tmp_path)
    names = {name.partition(".")[2] for name in state.moments}
    assert not [name for name in names if ".h.0." in name]
    assert [name for name in names if ".h.1." in name]
    again = step_for(base, files, tmp_path / "none", "finetune.frozen_layers=1")[1]
    again.load(tmp_path)
    for one in (step, again):
        one.train([setup.train.batch(8, 8)], 1, 1e-3)
    for (name, weight), other in zip(
        step.model.named_parameters(), again.model.parameters(), strict=True
    ):
        assert torch.equal(weight, other), name


@pytest.mark.parametrize("spare", [0, 2, 5])
def test_new_rows_and_head_are_small_and_random(spare, base, files, tmp_path):
    """Also where the model has rows that its tokenizer does not use."""
    model = ogpt.OpenAIGPTLMHeadModel.from_pretrained(base)
    known = len(tokenizer())
    model.resize_token_embeddings(known + spare)
    with torch.no_grad():
        model.transformer.tokens_embed.weight[known:] = 9.0
    model.save_pretrained(tmp_path / "base")
    tokenizer().save_pretrained(tmp_path / "base")
    _, step = step_for(tmp_path / "base", files, tmp_path / "out")
    rows = step.model.transformer.tokens_embed.weight.detach()
    assert len(rows) == known + max(3, spare)
    for new in (rows[known : known + 3], step.model.score.weight.detach()):
        assert 0.01 < new.std() < 0.03
        assert abs(new.mean()) < 0.01
    held = ModelFolder.open(tmp_path / "base").weights["transformer.tokens_embed.weight"].data
    assert np.array_equal(rows[:known], held[:known])
    assert (rows[known + 3 :] == 9).all()
