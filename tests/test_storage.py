"""A write is whole or did not happen, whatever goes wrong inside it."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ogpt.errors import ConfigError, OutputExists, StorageError
from ogpt.storage import (
    check_empty,
    check_writable,
    only_writer,
    only_writer_of,
    path_of,
    whole_file,
    whole_folder,
    write_json,
)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with whole_file(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_file_error_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), whole_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    message = r"could not write .*a\.txt: No space left"
    with pytest.raises(StorageError, match=message) as caught, whole_file(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "free some space" in caught.value.hint
    assert target.read_text() == "old"


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.EROFS, "check the permissions"), (errno.ENOTDIR, "check the path")]
)
def test_the_hint_is_of_the_cause(tmp_path: Path, number: int, hint: str) -> None:
    with pytest.raises(StorageError) as caught, whole_file(tmp_path / "a.txt"):
        raise OSError(number, os.strerror(number))
    assert hint in caught.value.hint


def test_missing_parent_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        write_json(tmp_path / "nowhere" / "a.json", {})


def test_own_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mine"), whole_file(tmp_path / "a"):
        raise ConfigError("mine", hint="none")
    with pytest.raises(ConfigError, match="mine"), whole_folder(tmp_path / "b"):
        raise ConfigError("mine", hint="none")
    assert names(tmp_path) == []


def test_folder_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with whole_folder(target) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "new.txt").write_text("new")
    assert [path.name for path in target.rglob("*")] == ["deep", "new.txt"]
    assert names(tmp_path) == ["model"]


def test_folder_error_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with pytest.raises(StorageError, match="No space left"), whole_folder(target) as temporary:
        (temporary / "new.txt").write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert (target / "old.txt").read_text() == "old"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("fault", [OSError(errno.EACCES, "Permission denied"), KeyboardInterrupt()])
def test_folder_comes_back_when_the_swap_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    """The old folder is set aside before the new one is put in its place; it must come back."""
    target = tmp_path / "model"
    target.mkdir()
    (target / "old.txt").write_text("old")
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise fault
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    expected = StorageError if isinstance(fault, OSError) else KeyboardInterrupt
    with pytest.raises(expected), whole_folder(target) as temporary:
        (temporary / "new.txt").write_text("new")
    assert (target / "old.txt").read_text() == "old"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("kind", ["folder", "link", "link to nothing", "here", "hidden", "disk"])
def test_an_empty_folder_is_filled(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a mount point, which cannot be renamed; it stays the folder that it was."""
    real = out = tmp_path / "real"
    if kind != "link to nothing":
        real.mkdir()
    if kind.startswith("link"):
        out = tmp_path / "link"
        out.symlink_to(real)
    if kind == "here":
        monkeypatch.chdir(real)
        out = Path()
    if kind in ("hidden", "disk"):
        (real / {"hidden": ".keep", "disk": "lost+found"}[kind]).mkdir()
    known = real.stat().st_ino if real.exists() else None
    check_empty(out)
    check_writable(out)
    with whole_folder(out) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "new.txt").write_text("new")
    assert (real / "deep" / "new.txt").read_text() == "new"
    assert known in (None, real.stat().st_ino)
    assert out.is_symlink() is kind.startswith("link")
    kept = {"hidden": [".keep"], "disk": ["lost+found"]}.get(kind, [])
    assert sorted(names(real)) == sorted(["deep", *kept])


def test_an_error_leaves_an_empty_folder_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="stop"), whole_folder(tmp_path) as temporary:
        (temporary / "new.txt").write_text("half")
        raise RuntimeError("stop")
    assert names(tmp_path) == []
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self.name == "c":
            raise OSError(errno.EACCES, "Permission denied")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StorageError, match="Permission"), whole_folder(tmp_path) as temporary:
        (temporary / "a").mkdir()
        for name in "bc":
            (temporary / name).write_text("new")
    assert names(tmp_path) == []


def test_an_empty_folder_that_others_fill_meanwhile(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputExists, match=r"already exists and holds other\.txt") as caught,
        whole_folder(tmp_path) as temporary,
    ):
        (temporary / "new.txt").write_text("new")
        (tmp_path / "other.txt").write_text("theirs")
    assert "new or empty" in caught.value.hint
    assert names(tmp_path) == ["other.txt"]


def test_what_is_in_the_way_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").touch()
    check_empty(tmp_path / "new")
    with pytest.raises(OutputExists, match=r"a\.txt already exists and is a file"):
        check_empty(tmp_path / "a.txt")
    for place in (tmp_path / "a.txt" / "b", Path("/proc/ogpt")):
        with pytest.raises(StorageError, match=f"could not write {place}"):
            check_writable(place)
    check_writable(tmp_path / "new" / "deep")
    assert names(tmp_path) == ["a.txt"], "checking leaves nothing behind"

    def refusing(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refusing)
    with pytest.raises(StorageError, match="Permission denied"):
        check_empty(tmp_path)


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_path_is_not_the_current_folder(value: str) -> None:
    with pytest.raises(ConfigError, match=f"out is {value!r}; allowed: a path") as caught:
        path_of(value, "out")
    assert "`.`" in caught.value.hint
    assert path_of(".", "out") == path_of(Path(), "out") == Path()


def test_json_is_readable_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "café"})
    text = (tmp_path / "a.json").read_text("utf-8")
    assert "café" in text
    assert json.loads(text) == {"name": "café"}


def test_only_one_writer(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    message = "another process is writing into"
    with only_writer(folder):
        with pytest.raises(OutputExists, match=message) as caught, only_writer(folder):
            raise AssertionError("two writers")
        assert "wait until it ends" in caught.value.hint
        (folder / "a.txt").touch()
    assert names(folder) == ["a.txt"]


def test_only_one_writer_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    with only_writer_of(file):
        with (
            pytest.raises(OutputExists, match=f"is writing {file}") as caught,
            only_writer_of(file),
        ):
            raise AssertionError("two writers")
        assert "wait until it ends" in caught.value.hint
        with only_writer_of(tmp_path / "others.jsonl"):
            pass
    assert names(tmp_path) == []
    with only_writer_of(file):
        pass


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from ogpt.storage import only_writer_of\n"
        "with only_writer_of(Path(sys.argv[1])):\n"
        "    sys.stdout.write('held\\n'); sys.stdout.flush(); time.sleep(60)\n"
    )
    file = tmp_path / "rows.jsonl"
    words = [sys.executable, "-c", program, str(file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(OutputExists, match="another process"), only_writer_of(file):
            raise AssertionError("two writers")
        child.kill()
    with only_writer_of(file):
        pass


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputExists, match="is a folder") as caught, only_writer_of(tmp_path):
        raise AssertionError("it is a folder")
    assert "--out" in caught.value.hint
    lost = tmp_path / "none" / "rows.jsonl"
    with pytest.raises(StorageError, match="there is no folder") as missing, only_writer_of(lost):
        raise AssertionError("its folder is missing")
    assert "create the folder" in missing.value.hint
    assert names(tmp_path) == []
    (tmp_path / ".rows.jsonl.lock").mkdir()
    with pytest.raises(StorageError, match="could not"), only_writer_of(tmp_path / "rows.jsonl"):
        raise AssertionError("its lock is a folder")


def test_a_folder_made_for_nothing_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), only_writer(tmp_path / "new"):
        raise ConfigError("mine", hint="none")
    assert names(tmp_path) == []
    (tmp_path / "old").mkdir()
    with only_writer(tmp_path / "old"):
        pass
    assert names(tmp_path) == ["old"]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OutputExists, match="a is a file") as caught, only_writer(tmp_path / "a"):
        raise AssertionError("it is a file")
    assert "--out" in caught.value.hint
    with pytest.raises(StorageError, match="could not write"), only_writer(tmp_path / "a" / "b"):
        raise AssertionError("its parent is a file")


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    for pid in (child.pid, os.getppid(), "words"):
        (tmp_path / f".b.{pid}.tmp").mkdir()
    (tmp_path / ".bb.1.tmp").mkdir()
    with whole_folder(tmp_path / "b"):
        pass
    assert sorted(names(tmp_path)) == sorted(
        ["b", f".b.{os.getppid()}.tmp", ".b.words.tmp", ".bb.1.tmp"]
    )
