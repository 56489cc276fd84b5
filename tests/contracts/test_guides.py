"""The Python of the guides runs in order and prints the output shown; their tables are correct."""

from __future__ import annotations

import dataclasses
import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pytest
from typer.testing import CliRunner

import ogpt
from ogpt.cli.main import app
from ogpt.config.pretrain_settings import PretrainSettings
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.contracts.sources import HAS_TENSORFLOW, ROOT
from tests.tokens.real import VOCABULARY, needs_vocabulary

GUIDES = ROOT / "docs" / "guides"
PAGES = [
    page for page in sorted(GUIDES.glob("*.md")) if HAS_TENSORFLOW or page.stem != "tensorflow"
]
PYTHON = re.compile(
    r"^```(?P<language>python|sh)\n(?P<code>.*?)^```\n"  # "```python no-run" is skipped
    r"(?:\n+```text\n(?P<printed>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """Python or commands of a page, the line where they start, the output shown below them."""

    line: int
    code: str
    printed: str
    language: str


def blocks(page: str) -> list[Block]:
    return [
        Block(
            page.count("\n", 0, match.start("code")),
            match["code"],
            match["printed"] or "",
            match["language"],
        )
        for match in PYTHON.finditer(page)
    ]


def run(page: str, name: str) -> None:
    """Run a page's Python in one namespace and compare what each block prints.

    Commands run in the same process. Their output is compared only where the page shows it.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "sh":
            printed_by = "".join(map(run_command, block.code.splitlines()))
            assert block.printed in ("", printed_by), f"{name}, line {block.line + 1}"
            continue
        program = compile("\n" * block.line + block.code, name, "exec")  # errors name its line
        with redirect_stdout(io.StringIO()) as printed:
            exec(program, namespace)  # noqa: S102 - it is our own page
        assert printed.getvalue() == block.printed, f"{name}, line {block.line + 1}"


def run_command(line: str) -> str:
    """What a line `ogpt COMMAND ...` of a page prints to stdout; it must succeed."""
    program, *words = shlex.split(line)
    assert program == "ogpt", line
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, f"{line}: {found.output}"
    return found.stdout


@pytest.mark.parametrize(
    # tests/serving/browser does what the guide of the writing page says
    "page",
    [page for page in PAGES if page.stem != "writing"],
    ids=lambda page: page.stem,
)
def test_a_guide_prints_what_it_says(page: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text("utf-8")
    found = blocks(text)
    assert len(found) == len(re.findall("^```(?:python|sh)$", text, re.MULTILINE)) > 1
    assert sum(bool(block.printed) for block in found) == len(
        re.findall("^```text$", text, re.MULTILINE)
    )
    run(text, page.name)
    assert list(tmp_path.iterdir()) == [], "a guide must remove its files"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder where runs/mine is a run, as after the commands of the README."""
    monkeypatch.chdir(tmp_path)
    text = "The function returns a list.\nA list returns the function.\n" * 300
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "valid.txt").write_text(text[:2000])
    shape = ["n_layer=1", "n_head=1", "n_embd=8", "n_positions=64"]
    rest = [
        "batch_size=4",
        "micro_batch_size=4",
        "threads=1",
        "compile='off'",
        "max_steps=2",
        "warmup_steps=1",
    ]
    ogpt.pretrain(
        data=[str(tmp_path / "train.txt")],
        valid=[str(tmp_path / "valid.txt")],
        out=tmp_path / "runs" / "mine",
        overrides=[
            *(f"model.{item}" for item in shape),
            *(f"training.{item}" for item in rest),
            "tokenizer.vocab_size=40",
        ],
    )


@pytest.mark.usefixtures("runs")
def test_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    found = blocks((ROOT / "README.md").read_text("utf-8"))
    assert any("runs/mine" in block.code for block in found)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in found:
        program = compile("\n" * block.line + block.code, "README.md", "exec")
        exec(program, namespace)  # noqa: S102 - it is our own page
    written = capsys.readouterr().out.splitlines()[-1]
    assert "the function returns" in written
    assert "<pad>" not in written


GOOD = """
```sh
ogpt --version
```

```python
seen = [1]
print("a", *seen)
print("b")
```

```text
a 1
b
```

```python
seen.append(2)
```

```python no-run
raise ValueError("is not run")
```

```python
print(seen)
```

```text
[1, 2]
```
"""


def test_a_good_page_passes() -> None:
    assert [block.line for block in blocks(GOOD)] == [2, 6, 17, 25]
    run(GOOD, "good")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("a 1\n", "a 2\n"),
        ("a 1\n", "a 1 \n"),
        ("a 1\nb\n", "a 1\n"),
        ("a 1\nb\n", "a 1\nb\nc\n"),
        ("```text\n[1, 2]\n```\n", ""),
        ("seen.append(2)", "seen.append(3)"),
        ("seen.append(2)", "print(2)"),
    ],
)
def test_a_planted_fault_shows(right: str, wrong: str) -> None:
    assert right in GOOD
    with pytest.raises(AssertionError, match="bad, line"):
        run(GOOD.replace(right, wrong), "bad")


def test_a_failing_block_is_named_by_its_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run(GOOD.replace("seen.append(2)", "1 / 0"), "bad")
    assert (caught.traceback[-1].lineno, caught.traceback[-1].path) == (17, "bad")


def table_of_ids() -> list[tuple[str, dict[str, list[int]]]]:
    """The rows of which-tokenization.md: a text, and its ids with each pre_tokenizer."""
    page = (GUIDES / "which-tokenization.md").read_text("utf-8")
    header = re.search(r"^\| text \| (.*) \|\n\|[-| ]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert header is not None
    paths = header[1].split(" | ")
    rows = [line.strip("| \n").split(" | ") for line in header[2].splitlines()]
    found = []
    for text, *cells in rows:
        ids = [[int(one) for one in cell.split()] for cell in cells]
        found.append((text.strip("`").replace("\\n", "\n"), dict(zip(paths, ids, strict=True))))
    return found


def test_the_table_of_ids_is_found() -> None:
    rows = dict(table_of_ids())
    assert len(rows) > 10
    assert rows["a\nb"] == {
        "openai": [246, 40477, 259],
        "hf-spacy": [246, 40477, 259],
        "bert": [246, 259],
    }


@needs_vocabulary
@pytest.mark.parametrize("path", ["openai", "hf-spacy", "bert"])
def test_the_table_of_ids_is_right(path: Any) -> None:
    tokenizer = OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer=path)
    for text, ids in table_of_ids():
        assert tokenizer.encode(text) == ids[path], text


SCRIPTS = {  # the options of transformers' examples, their own and those of its version 4
    "run_clm.py": """model_name_or_path model_type config_overrides config_name tokenizer_name
        cache_dir use_fast_tokenizer model_revision token trust_remote_code dtype low_cpu_mem_usage
        dataset_name dataset_config_name train_file validation_file max_train_samples
        max_eval_samples streaming block_size overwrite_cache validation_split_percentage
        preprocessing_num_workers keep_linebreaks""",
    "run_generation.py": """model_type model_name_or_path prompt length stop_token temperature
        repetition_penalty k p prefix padding_text xlm_language seed use_cpu num_return_sequences
        fp16 jit""",
}


def names_in_first_column(header: str, guide: str = "from-transformers") -> list[str]:
    """The names in the first cells of a table of a guide."""
    page = (GUIDES / f"{guide}.md").read_text("utf-8")
    table = re.search(rf"^\| {re.escape(header)} \|.*\n\|[-| ]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    assert table is not None
    return [
        name.lstrip("-")
        for row in table[1].splitlines()
        for name in re.findall(r"`(-*\w+)`", row.split(" | ")[0])
    ]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_of_a_script_is_mapped(script: str) -> None:
    assert sorted(names_in_first_column(f"option of `{script}`")) == sorted(SCRIPTS[script].split())


TF_ONLY = """line_by_line xla poly_power fp16 gradient_accumulation_steps max_steps tpu_name
    tpu_zone gcp_project tpu_num_cores push_to_hub push_to_hub_model_id push_to_hub_token"""
"""What transformers' TensorFlow script reads beside the options of PyTorch's: one of its own, and
those of TFTrainingArguments that act otherwise there."""


def test_every_option_of_the_tensorflow_script_is_mapped() -> None:
    """It has those of PyTorch's, but for three, and its own."""
    header = "option of TensorFlow's `run_clm.py`"
    assert sorted(names_in_first_column(header, "tensorflow")) == sorted(TF_ONLY.split())
    page = (GUIDES / "tensorflow.md").read_text("utf-8")
    for name in ("dtype", "low_cpu_mem_usage", "streaming"):
        assert name in SCRIPTS["run_clm.py"].split()
        assert f"`--{name}`" in page


def test_training_arguments_are_those_of_transformers() -> None:
    from transformers import TrainingArguments

    names = names_in_first_column("TrainingArguments")
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    of_version_4 = {"overwrite_output_dir", "warmup_ratio"}
    of_trainer = {"compute_metrics"}
    assert len(names) > 40
    assert set(names) - known - of_version_4 - of_trainer == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_named_in_a_guide_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for section, kind in get_type_hints(PretrainSettings).items():
        fields = {field.name for field in dataclasses.fields(kind)}
        assigned = set(re.findall(rf"--set {section}\.(\w+)=", text))
        if section == "training":  # the other sections are also names of variables
            assigned |= set(re.findall(rf"`{section}\.(\w+)", text))
        assert assigned <= fields, f"{page.name}: {section}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_guide_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
