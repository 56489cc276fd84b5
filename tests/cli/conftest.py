"""Files that the commands make from one text, made once for all tests of commands."""

from pathlib import Path

import pytest

from tests.cli.stand_ins import SMALL, ok


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text and a tokenizer, shards and a run made from it by commands."""
    folder = tmp_path_factory.mktemp("story")
    text = "The cat sat on the mat. The dog sat on the log.\n"
    (folder / "text.txt").write_text(text * 300)
    tokenizer, shards, run = (str(folder / name) for name in ("tokenizer", "shards", "run"))
    ok(
        "train-tokenizer",
        "--data",
        str(folder / "text.txt"),
        "--vocab-size",
        "30",
        "--out",
        tokenizer,
    )
    ok("prepare", "--data", str(folder / "text.txt"), "--tokenizer", tokenizer, "--out", shards)
    ok("pretrain", "--data", shards, "--out", run, *SMALL)
    return folder
