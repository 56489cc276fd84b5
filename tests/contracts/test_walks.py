"""docs/how-it-works.md: its files run in the order named, and few enough of them."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from typer.testing import CliRunner

import ogpt
from ogpt.cli.main import app
from tests.contracts.sources import PACKAGE, ROOT
from tests.serving.calls import chunks
from tests.serving.running import running

PAGE = ROOT / "docs" / "how-it-works.md"
MOST = {
    "From a prompt to streamed text": 9,
    "From a request to a streamed answer": 9,
    "From text to a checkpoint": 11,
    "From token ids to logits": 6,
}
"""The most files that a newcomer has to read for each walk."""
STEP = re.compile(r"^(\d+)\. `([\w/]+\.py)`, `([\w.]+)`: ", re.MULTILINE)


class Step(NamedTuple):
    """A step of a walk: a file of the package and the function in it that is called."""

    file: str
    function: str


def walks() -> dict[str, list[Step]]:
    """The steps under each heading of the page."""
    sections = re.split(r"^## (.+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    found = {}
    for heading, text in zip(sections[1::2], sections[2::2], strict=True):
        steps = STEP.findall(text)
        assert [int(number) for number, *_ in steps] == list(range(1, len(steps) + 1))
        if steps:
            found[heading] = [Step(file, function) for _, file, function in steps]
    return found


def imports(file: str) -> set[str]:
    """The files of the package that a file imports anywhere, `ogpt.name` among them."""
    modules = set()
    for node in ast.walk(ast.parse((PACKAGE / file).read_text("utf-8"))):
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                modules |= {module, *(f"{module}.{alias.name}" for alias in names)}
                if module == "ogpt":
                    modules |= {home(alias.name) for alias in names}
            case ast.Attribute(value=ast.Name(id="ogpt"), attr=attribute):
                modules.add(home(attribute))
    return {path for path in map(path_of, modules) if (PACKAGE / path).is_file()}


def path_of(module: str) -> str:
    return module.removeprefix("ogpt.").replace(".", "/") + ".py"


def reach(file: str) -> set[str]:
    """The files that a file imports, or that the files of its classes' bases import."""
    module = importlib.import_module(f"ogpt.{file.removesuffix('.py').replace('/', '.')}")
    reached = imports(file)
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if kind.__module__ == module.__name__:
            for base in kind.__mro__:
                if base.__module__.startswith("ogpt."):
                    reached |= imports(path_of(base.__module__))
    return reached


def home(name: str) -> str:
    """The module of a public name of ogpt."""
    return ogpt._HOMES.get(name, "").partition(":")[0]


def calls(action: Callable[[], object]) -> dict[Step, int]:
    """The package's functions that run in `action`, each with the place of its first call."""
    places: dict[Step, int] = {}
    root = f"{PACKAGE}/"

    def record(frame: object, event: str, _: object) -> None:
        code = frame.f_code  # type: ignore[attr-defined]  # a frame
        if event == "call" and code.co_filename.startswith(root):
            step = Step(code.co_filename.removeprefix(root), code.co_qualname)
            places.setdefault(step, len(places))

    threading.setprofile(record)  # of the threads that the action starts
    sys.setprofile(record)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return places


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model folder."""
    texts = ["the function returns a list", "a list returns the function"] * 2
    empty = ogpt.OpenAIGPTTokenizer(vocab={"<unk>": 0}, merges=[], pre_tokenizer="bert")
    tokenizer = empty.train_new_from_iterator(texts, vocab_size=40)
    tokenizer.save_pretrained(tmp_path / "model")
    tiny_model(len(tokenizer)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def tiny_model(vocab_size: int) -> ogpt.OpenAIGPTLMHeadModel:
    config = ogpt.OpenAIGPTConfig(
        vocab_size=vocab_size, n_positions=32, n_embd=16, n_layer=1, n_head=2
    )
    return ogpt.OpenAIGPTLMHeadModel(config).eval()


def run(*arguments: str | Path) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def check_order(heading: str, places: dict[Step, int]) -> None:
    steps = walks()[heading]
    assert [step for step in steps if step not in places] == [], "never called"
    assert sorted(steps, key=places.__getitem__) == steps


def test_the_walks_are_found() -> None:
    assert list(walks()) == list(MOST)


@pytest.mark.parametrize("heading", MOST)
def test_a_walk_is_short_and_names_each_file_once(heading: str) -> None:
    files = [step.file for step in walks()[heading]]
    assert 3 < len(files) <= MOST[heading]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize("heading", MOST)
def test_each_file_is_reached_from_an_earlier_one(heading: str) -> None:
    files = [step.file for step in walks()[heading]]
    reached = {files[0]}
    for file in files:
        assert file in reached, f"no earlier file leads to {file}"
        reached |= reach(file)


@pytest.mark.filterwarnings("ignore")
def test_a_prompt_takes_its_walk(folder: Path) -> None:
    options = ["--max-new-tokens", "8", "--top-k", "5"]
    places = calls(lambda: run("generate", folder, "the list", *options))
    check_order("From a prompt to streamed text", places)


@pytest.mark.filterwarnings("ignore")
def test_a_request_takes_its_walk(folder: Path) -> None:
    def ask() -> None:
        with running({"mine": folder}) as url:
            assert chunks(url, prompt="the list", max_tokens=8, seed=1)

    check_order("From a request to a streamed answer", calls(ask))


@pytest.mark.filterwarnings("ignore")
def test_text_takes_its_walk(folder: Path, tmp_path: Path) -> None:
    text = "the function returns a list\na list returns the function\n" * 200
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "valid.txt").write_text(text[:2000])
    settings = [
        "model.n_layer=1",
        "model.n_head=1",
        "model.n_embd=8",
        "model.n_positions=64",
        "training.batch_size=4",
        "training.micro_batch_size=4",
        "training.compile='off'",
        "training.max_steps=2",
        "training.warmup_steps=1",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    files = ["--data", tmp_path / "train.txt", "--valid", tmp_path / "valid.txt"]
    files += ["--tokenizer", folder, "--out", tmp_path / "run"]
    places = calls(lambda: run("pretrain", *files, *options))
    check_order("From text to a checkpoint", places)
    assert list((tmp_path / "run").glob("checkpoints/*/model.safetensors"))


def test_ids_run_through_no_other_file() -> None:
    model = tiny_model(40)
    places = calls(lambda: model(torch.tensor([[4, 8, 15]])))
    heading = "From token ids to logits"
    check_order(heading, places)
    # what outputs are, and whether the values of a tensor can be read, is the same everywhere
    files = {step.file for step in places} - {"config/model_output.py", "model/tensors.py"}
    assert files == {step.file for step in walks()[heading]}
