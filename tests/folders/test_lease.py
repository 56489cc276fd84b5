"""A checkpoint that a reader chose stays readable while its run moves on."""

import copy
import json
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import CheckpointError
from ogpt.folders import lease, model_folder
from ogpt.folders.lease import Lease, remove_unless_held
from ogpt.folders.model_folder import ModelFolder
from ogpt.folders.run_folder import RunFolder
from ogpt.model.heads import OpenAIGPTLMHeadModel
from tests.training.counter import names

EMBEDDING = "transformer.tokens_embed.weight"
MODEL = OpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=3, n_embd=4, n_head=1, n_layer=1))


def save(run: RunFolder, step: int) -> None:
    run.save(step, best=True, state={}, write=MODEL.save_pretrained)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    made = RunFolder.create(tmp_path / "run", "")
    save(made, 1)
    return made


def test_what_a_reader_holds_stays_until_it_is_let_go(run: RunFolder) -> None:
    folder = ModelFolder.open(run.path)
    save(run, 2)
    save(run, 3)
    assert names(run) == ["step-00000001", "step-00000003"]
    weights = folder.weights[EMBEDDING].data
    assert torch.equal(torch.from_numpy(weights), MODEL.transformer.tokens_embed.weight.detach())
    assert folder.config.vocab_size == 3
    del folder
    save(run, 4)
    assert names(run) == ["step-00000004"]


def test_weights_outlive_the_folder_that_opened_them(run: RunFolder) -> None:
    arrays = ModelFolder.open(run.path / "checkpoints" / "step-00000001").weights
    save(run, 2)
    assert arrays[EMBEDDING].shape == (3, 4)
    del arrays
    save(run, 3)
    assert names(run) == ["step-00000003"]


def test_a_path_of_a_checkpoint_is_held_while_it_loads(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = str(run.path / "checkpoints" / "step-00000001")
    load = OpenAIGPTLMHeadModel.load_arrays

    def meanwhile(*arguments: object, **named: object) -> object:
        save(run, 2)
        save(run, 3)
        return load(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenAIGPTLMHeadModel, "load_arrays", meanwhile)
    model = OpenAIGPTLMHeadModel.from_pretrained(checkpoint)
    assert torch.equal(model.lm_head.weight, MODEL.lm_head.weight)
    assert names(run) == ["step-00000001", "step-00000003"]
    del model
    save(run, 4)
    assert names(run) == ["step-00000004"]


def test_a_copy_holds_it_too(run: RunFolder) -> None:
    folder = ModelFolder.open(run.path)
    copies = [copy.deepcopy(folder), pickle.loads(pickle.dumps(folder))]
    del folder
    save(run, 2)
    assert [one.config.vocab_size for one in copies] == [3, 3]


def test_another_process_holds_it_until_it_ends(run: RunFolder) -> None:
    program = (
        "import sys, ogpt\n"
        f"folder = ogpt.ModelFolder.open({str(run.path)!r})\n"
        "print('open', flush=True); sys.stdin.readline()\n"
        "print(folder.config.vocab_size, flush=True); sys.stdin.readline()\n"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        save(run, 2)
        reader.stdin.write("read\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "3\n"
        reader.kill()
    save(run, 3)
    assert names(run) == ["step-00000003"]


def test_a_checkpoint_that_goes_before_it_is_held_is_chosen_again(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [2, 3]

    class Late(Lease):
        def __init__(self, folder: Path) -> None:
            if left:
                save(run, left.pop(0))
            super().__init__(folder)

    monkeypatch.setattr(model_folder, "Lease", Late)
    assert ModelFolder.open(run.path).path.name == "step-00000003"


def test_readers_of_a_run_that_saves_all_the_time(run: RunFolder) -> None:
    failures = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                folder = ModelFolder.open(run.path)
                assert folder.config.vocab_size == 3
                assert folder.weights[EMBEDDING].shape == (3, 4)
            except Exception as error:  # noqa: BLE001  # shown below
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for step in range(2, 20):
        save(run, step)
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []


def test_without_locks_a_checkpoint_is_removed(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(file: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lease.fcntl, "flock", refused)
    folder = ModelFolder.open(run.path)
    save(run, 2)
    assert names(run) == ["step-00000002"]
    with pytest.raises(CheckpointError):
        _ = folder.config


def test_a_checkpoint_without_configuration_is_removed(run: RunFolder) -> None:
    folder = run.path / "checkpoints" / "step-00000001"
    (folder / "config.json").unlink()
    remove_unless_held(folder)
    assert names(run) == []
    assert json.loads((run.path / "run.json").read_text())["last"] == folder.name
