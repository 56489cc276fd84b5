import json
import shutil
from pathlib import Path

import pytest

from ogpt import notices
from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.errors import CheckpointError, DamagedData, OutputExists, StorageError
from ogpt.folders.run_folder import RunFolder
from tests.training.counter import Counter, names


def save(run: RunFolder, step: int, *, best: bool = False) -> Path:
    counter = Counter()
    counter.value = float(step)
    return run.save(step, best=best, state={"best_value": None}, write=counter.save)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", "[training]\n")


def test_best_and_last_are_kept(run: RunFolder) -> None:
    save(run, 1)
    save(run, 2, best=True)
    save(run, 3)
    save(run, 4)
    assert names(run) == ["step-00000002", "step-00000004"]
    again = RunFolder.open(run.path)
    assert (again.facts["best"], again.facts["last"]) == ("step-00000002", "step-00000004")
    counter = Counter()
    state = again.load_last(counter.load)
    assert state is not None
    assert (counter.value, state["step"]) == (4.0, 4)


def test_the_weights_of_the_best_checkpoint_alone(run: RunFolder) -> None:
    save(run, 1, best=True)
    save(run, 2)
    run.keep_best()
    assert names(run) == ["step-00000001"]
    kept = run.checkpoint(1)
    assert not (kept / "resume").exists()
    assert any(kept.iterdir())
    assert RunFolder.open(run.path).facts["last"] == kept.name


def test_without_a_best_checkpoint_the_last_is_kept(run: RunFolder) -> None:
    save(run, 1)
    run.keep_best()
    assert names(run) == ["step-00000001"]
    assert run.facts["best"] is None


def test_a_fresh_run_has_nothing_to_load(run: RunFolder) -> None:
    assert run.load_last(Counter().load) is None
    assert RunFolder.is_run(run.path)


def test_another_run_is_never_overwritten(run: RunFolder) -> None:
    with pytest.raises(OutputExists, match="already holds a run") as caught:
        RunFolder.create(run.path, "")
    assert "--resume" in caught.value.hint


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"best": null, "last": 3}'])
def test_a_damaged_run_file(run: RunFolder, text: str) -> None:
    (run.path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json is damaged") as caught:
        RunFolder.open(run.path)
    assert "checkpoints" in caught.value.hint


def test_a_damaged_checkpoint_is_skipped(run: RunFolder) -> None:
    save(run, 1, best=True)
    (save(run, 2) / "model.safetensors").write_bytes(b"short")
    counter = Counter()
    with notices.collecting() as told:
        state = run.load_last(counter.load)
    assert state is not None
    assert counter.value == 1.0
    assert [notice.kind for notice in told] == ["checkpoint-set-aside"]


def test_no_whole_checkpoint(run: RunFolder) -> None:
    shutil.rmtree(save(run, 1) / "resume")
    with (
        notices.collecting(),
        pytest.raises(CheckpointError, match="none of the 1 checkpoints") as caught,
    ):
        run.load_last(Counter().load)
    assert "another --out" in caught.value.hint


def test_a_full_disk_leaves_the_checkpoint_before(run: RunFolder) -> None:
    save(run, 1)

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        run.save(2, best=True, state={}, write=full)
    assert names(run) == ["step-00000001"]
    counter = Counter()
    assert RunFolder.open(run.path).load_last(counter.load) is not None
    assert counter.value == 1.0


def test_metrics_after_the_checkpoint_are_cut(run: RunFolder) -> None:
    file = run.path / "metrics.jsonl"
    run.cut_metrics(0)
    assert file.read_text() == ""
    lines = [json.dumps({"event": "train", "step": step}) for step in range(1, 6)]
    file.write_text("\n".join(lines) + '\n{"event": "tr')
    run.cut_metrics(3)
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [1, 2, 3]


def test_the_last_evaluation_is_cut_where_it_is_repeated(run: RunFolder) -> None:
    file = run.path / "metrics.jsonl"
    kinds = ("train", "eval", "probe")
    lines = [{"event": kind, "step": step} for step in (1, 2, 3) for kind in kinds]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.cut_metrics(2, evaluates=True)
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines[:4]


@pytest.mark.parametrize("name", ["thesis.txt", "checkpoints"])
def test_a_folder_of_other_things_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(OutputExists, match=f"no run and holds {name}") as caught:
        RunFolder.check_free(tmp_path)
    assert "another --out" in caught.value.hint
    with pytest.raises(OutputExists, match=name):
        RunFolder.check_free(tmp_path / name)


def test_an_empty_folder_or_one_cut_short_is_free(tmp_path: Path) -> None:
    (tmp_path / "cut" / "shards").mkdir(parents=True)
    (tmp_path / "cut" / "tokenizer").mkdir()
    for name in ("none", "cut"):
        RunFolder.check_free(tmp_path / name)
        assert not RunFolder.is_run(tmp_path / name)


def test_a_kill_before_run_json_loses_nothing(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(run, 1, best=True)

    def killed(self: RunFolder) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "save_facts", killed)
    with pytest.raises(KeyboardInterrupt):
        save(run, 2, best=True)
    monkeypatch.undo()
    again = RunFolder.open(run.path)
    assert again.facts["best"] == "step-00000001"
    again.load_last(Counter().load)
    assert (again.facts["best"], again.facts["last"]) == ("step-00000002", "step-00000002")
    assert RunFolder.open(run.path).facts == again.facts


def test_what_somebody_keeps_beside_checkpoints_stays(run: RunFolder) -> None:
    save(run, 1)
    (run.path / "checkpoints" / "mine").mkdir()
    (run.path / "checkpoints" / "step-notes.txt").touch()
    save(run, 2)
    assert names(run) == ["mine", "step-00000002", "step-notes.txt"]


def test_a_run_whose_checkpoints_are_gone(run: RunFolder) -> None:
    shutil.rmtree(save(run, 1))
    with pytest.raises(CheckpointError, match=r"none of the 0 checkpoints .* step-00000001"):
        run.load_last(Counter().load)


def test_a_damaged_state_is_skipped(run: RunFolder) -> None:
    save(run, 1, best=True)
    (save(run, 2) / "resume" / "state.json").write_text("[]")
    with notices.collecting() as told:
        run.load_last(Counter().load)
    assert [notice.kind for notice in told] == ["checkpoint-set-aside"]


def test_a_flipped_bit_in_a_checkpoint_is_found(run: RunFolder) -> None:
    save(run, 1, best=True)
    for file in ("model.safetensors", "resume/optimizer.safetensors"):
        damaged = save(run, 2) / file
        content = bytearray(damaged.read_bytes())
        content[-1] ^= 1
        damaged.write_bytes(content)
        counter = Counter()
        with notices.collecting() as told:
            run.load_last(counter.load)
        assert counter.value == 1.0
        assert f"{file} was altered: its sha256 is " in told[0].message


def test_a_checkpoint_from_before_checksums_loads(run: RunFolder) -> None:
    state = save(run, 1) / "resume" / "state.json"
    values = json.loads(state.read_text())
    del values["sha256"]
    state.write_text(json.dumps(values))
    assert run.load_last(Counter().load) is not None


def test_the_last_becomes_the_best_without_being_written_again(run: RunFolder) -> None:
    save(run, 1, best=True)
    weights = save(run, 2) / "model.safetensors"
    before = weights.stat()
    assert run.mark_best({"best_value": 0.5}) == weights.parent
    assert weights.stat() == before
    assert names(run) == ["step-00000002"]
    state = RunFolder.open(run.path).load_last(Counter().load)
    assert state is not None
    assert (state["best"], state["best_value"]) == ("step-00000002", 0.5)


def test_what_a_kill_while_saving_left_is_removed(run: RunFolder) -> None:
    save(run, 1)
    (run.path / "checkpoints" / ".step-00000002.99.tmp").mkdir()
    (run.path / "checkpoints" / ".step-00000002.99.old").mkdir()
    run.load_last(Counter().load)
    assert names(run) == ["step-00000001"]


@pytest.mark.parametrize("line", ["5", "{", "{}", '{"event": "train", "step": "x"}'])
def test_a_line_that_is_no_event(run: RunFolder, line: str) -> None:
    file = run.path / "metrics.jsonl"
    file.write_text(f'{{"event": "train", "step": 1}}\n{line}\n')
    with pytest.raises(DamagedData, match=r"line 2 of .*metrics\.jsonl is not an event") as caught:
        run.cut_metrics(3)
    assert caught.value.hint == "delete the line"


def test_lost_settings(run: RunFolder) -> None:
    (run.path / "config.toml").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.toml") as caught:
        RunFolder.read_settings(run.path, PretrainSettings)
    assert "--init" in caught.value.hint


def test_altered_settings(run: RunFolder) -> None:
    RunFolder.read_settings(run.path, PretrainSettings)
    (run.path / "config.toml").write_text("")
    with pytest.raises(CheckpointError, match=r"config\.toml was altered since the run") as caught:
        RunFolder.read_settings(run.path, PretrainSettings)
    assert "--init" in caught.value.hint
