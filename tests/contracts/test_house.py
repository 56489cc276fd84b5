"""The shape of the source: import cycles, duplicate names, lengths and duplicate code."""

from __future__ import annotations

import ast
import io
import keyword
import re
import tokenize
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations

import pytest

import ogpt
from tests.contracts.sources import PACKAGE, modules

LONGEST_FILE = 400
MOST_PARAMETERS = 12
LONGEST_COPY = 9
"""Lines of code that two places may have in common, names and numbers aside."""

Sources = dict[str, str]
"""Text of each file, by its path in the package."""


@cache
def sources() -> Sources:
    return {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in modules()}


def module_of(file: str) -> str:
    return ".".join(["ogpt", *file.removesuffix(".py").removesuffix("__init__").split("/")]).strip(
        "."
    )


# ---- import cycles


def imported(file: str, tree: ast.AST) -> Iterator[str]:
    """Full names that a file imports.

    Imports under TYPE_CHECKING and inside functions count: two files that need each other are hard
    to read apart, whenever the import runs. A string with a module's name counts too, as
    import_module would take it. Only ogpt/__init__.py, which loads names on first use, may have
    such strings.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and file != "__init__.py":
            found = re.fullmatch(r"(ogpt(?:\.\w+)+)(?::\w+)?", str(node.value))
            yield from (found[1],) if found else ()


def import_graph(found: Sources) -> dict[str, set[str]]:
    """The files that each file imports."""
    files = {module_of(file): file for file in found}
    graph: dict[str, set[str]] = {}
    for file, text in found.items():
        targets = set(imported(file, ast.parse(text)))
        homes = {files.get(each) or files.get(each.rpartition(".")[0]) for each in targets}
        graph[file] = {home for home in homes if home}
    return graph


def import_cycles(found: Sources) -> list[str]:
    """Files whose imports lead back to them."""
    graph = import_graph(found)
    reached = {file: set(targets) for file, targets in graph.items()}
    for middle in reached:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    return [file for file, targets in reached.items() if file in targets]


# ---- names


def twin_classes(found: Sources) -> list[str]:
    """Class names that are used twice; integrations/ has those of the library it serves."""
    homes = defaultdict(list)
    for file, text in found.items():
        if file.startswith("integrations/"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(file)
    return [name for name, files in homes.items() if len(files) > 1]


PAIRS = {"cli": {"workflows", "recipes", "serving"}, "tf": {"model"}}
"""A command and its function may share a name, and tf/ has the same files as model/."""


def twin_files(found: Sources) -> list[str]:
    """File names that are used twice."""
    rooms = defaultdict(list)
    for file in found:
        rooms[file.rpartition("/")[2]].append(file.partition("/")[0])
    rooms.pop("__init__.py", None)
    return [
        name
        for name, tops in rooms.items()
        if any(
            one not in PAIRS.get(other, ()) and other not in PAIRS.get(one, ())
            for one, other in combinations(tops, 2)
        )
    ]


def shared_homes(homes: dict[str, str]) -> list[str]:
    """Public functions whose file has another name; this also finds two in one file."""
    return [
        name
        for name, home in homes.items()
        if name.islower() and ":" in home
        if home.partition(":")[0].rpartition(".")[2] != name
    ]


# ---- lengths


def long_files(found: Sources) -> list[str]:
    """Files with more than LONGEST_FILE lines."""
    return [file for file, text in found.items() if len(text.splitlines()) > LONGEST_FILE]


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST, above: str = "") -> Iterator[tuple[str, Function]]:
    """Every function with its full name in the file."""
    for node in ast.iter_child_nodes(tree):
        name = f"{above}.{node.name}".strip(".") if hasattr(node, "name") else above
        if isinstance(node, Function):
            yield name, node
        yield from functions(node, name)


CONTRACTS = {
    "config/model.py:OpenAIGPTConfig.__init__": "takes the keys of config.json",
    "model/classification.py:OpenAIGPTForSequenceClassification.forward": "the call of a model",
    "model/double_heads.py:OpenAIGPTDoubleHeadsModel.forward": "the call of a model",
    "model/cuda/triton_kernels.py:_attend": "the pointers, sizes and strides of a kernel",
    "model/cuda/triton_kernels.py:_multiply": "the pointers, sizes and strides of a kernel",
    "model/cuda/triton_kernels.py:_multiply_row": "the pointers, sizes and strides of a kernel",
    "model/generate/entry.py:GenerativeLanguageModel.generate": "the call of transformers",
    "model/heads.py:OpenAIGPTLMHeadModel.forward": "the call of a model",
    "model/transformer.py:OpenAIGPTModel.forward": "the call of a model",
    "tf/classification.py:TFOpenAIGPTForSequenceClassification.call": "the call of a model",
    "tf/double_heads.py:TFOpenAIGPTDoubleHeadsModel.call": "the call of a model",
    "tf/heads.py:TFOpenAIGPTLMHeadModel.call": "the call of a model",
    "tf/transformer.py:TFOpenAIGPTMainLayer.call": "the call of a model",
    "tf/transformer.py:TFOpenAIGPTModel.call": "the call of a model",
    "tokens/bpe_tokenizer.py:BPETokenizer.__init__": "takes the keys of tokenizer_config.json",
    "tokens/tokenizer_base.py:TokenizerBase.__call__": "the call of a tokenizer",
}
"""Signatures that transformers prescribes, or Triton, which has no structs; and why."""


def parameters(function: Function) -> int:
    """Number of parameters; `*args` and `**kwargs` count, `self` and `cls` do not."""
    given = function.args
    named = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"])) + bool(given.vararg) + bool(given.kwarg)


def long_signatures(found: Sources) -> list[str]:
    return [
        f"{file}:{name}"
        for file, text in found.items()
        for name, function in functions(ast.parse(text))
        if parameters(function) > MOST_PARAMETERS and f"{file}:{name}" not in CONTRACTS
    ]


# ---- duplicate code


def data(tree: ast.AST) -> Iterator[ast.AST]:
    """Parts that are not compared: imports, docstrings, tables of literals, fields of classes."""
    for node in ast.walk(tree):
        alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if alone or isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set):
            kinds = {type(each) for each in ast.walk(node)}
            if node.end_lineno > node.lineno and not kinds & {ast.Name, ast.Call}:
                yield node
        elif isinstance(node, ast.ClassDef):
            yield from (each for each in node.body if isinstance(each, ast.AnnAssign))


def shape(file: str, text: str) -> list[str]:
    """The lines of code of a file, with names and literals replaced by x."""
    tree = ast.parse(text)
    skipped = {n for node in data(tree) for n in range(node.lineno, node.end_lineno + 1)}
    for name, function in functions(tree):
        if f"{file}:{name}" in CONTRACTS:
            skipped |= set(range(function.lineno, function.body[0].lineno))
    lines: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.start[0] in skipped:
            continue
        kind = tokenize.tok_name[token.type]
        if kind == "OP" or keyword.iskeyword(token.string):
            lines[token.start[0]].append(token.string)
        elif kind in ("NAME", "NUMBER", "STRING", "FSTRING_START"):
            lines[token.start[0]].append("x")
    return [" ".join(parts) for _, parts in sorted(lines.items())]


def siblings(one: str, other: str) -> bool:
    """Whether two files are to be read side by side: the same one in model/ and in tf/."""
    rooms = {one.partition("/")[0], other.partition("/")[0]}
    return rooms == {"model", "tf"} and one.partition("/")[2] == other.partition("/")[2]


def copies(found: Sources) -> list[str]:
    """Pairs of files (or a file and itself) with a common run of more than LONGEST_COPY lines."""
    places = defaultdict(list)
    run = LONGEST_COPY + 1
    for file, text in found.items():
        lines = shape(file, text)
        for start in range(len(lines) - LONGEST_COPY):
            places[tuple(lines[start : start + run])].append((file, start))
    return sorted(
        {
            f"{one} = {other}"
            for starts in places.values()
            for (one, first), (other, second) in combinations(starts, 2)
            if (one != other or second - first >= run) and not siblings(one, other)
        }
    )


# ---- the house

RULES: dict[str, Callable[[Sources], list[str]]] = {
    "import cycles": import_cycles,
    "duplicate class names": twin_classes,
    "duplicate file names": twin_files,
    "long files": long_files,
    "long signatures": long_signatures,
    "duplicate code": copies,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_house(rule: str) -> None:
    assert RULES[rule](sources()) == []


def test_public_functions_have_files_of_their_names() -> None:
    # `ogpt generate` is both: one file tells how a prompt and how a file of prompts is continued
    assert shared_homes(ogpt._HOMES) == ["generate_file"]


# ---- planted faults

LINES = "\n".join(f"    a{n} = f(b, {n})\n    # or not\n" for n in range(LONGEST_COPY))
OTHERS = LINES.replace("a", "c").replace("b", "d")
SIBLING = "def k(b):\n" + "\n".join(f"    return b + {n}" for n in range(LONGEST_COPY))
FIELDS = "class {}:\n" + "\n".join(f"    a{n}: int = {n}" for n in range(20))
GOOD: Sources = {
    "a.py": "import ogpt.b\nfrom ogpt.room import c\n",
    "b.py": "from ogpt.room.c import f\nNAMES = [\n" + "'x',\n" * 30 + "]\n",
    "room/c.py": f"def f(b):\n{LINES}\n\ndef g():\n{LINES}",
    "cli/info.py": f"def f(self, {', '.join('abcdefghijk')}, *l): ...\n{FIELDS.format('A')}",
    "workflows/info.py": FIELDS.format("B"),
    "model/losses.py": SIBLING,
    "tf/losses.py": SIBLING,
}
FAULTS: list[tuple[str, Sources]] = [
    ("import cycles", {"room/c.py": "def f():\n    from ogpt import b\n"}),
    ("import cycles", {"room/c.py": "if TYPE_CHECKING:\n    from ogpt.a import g\n"}),
    ("import cycles", {"room/c.py": "HOME = 'ogpt.a:g'"}),
    ("duplicate class names", {"d.py": "class A: ..."}),
    ("duplicate file names", {"room/a.py": ""}),
    ("duplicate file names", {"room/info.py": ""}),
    ("long files", {"d.py": "#\n" * 401}),
    ("long signatures", {"d.py": f"def f({', '.join('abcdefghijklm')}): ..."}),
    (
        "long signatures",
        {"d.py": f"class D:\n  def f(self, {', '.join('abcdefghijklm')}): ..."},
    ),
    (
        "duplicate code",
        {"d.py": f"def h(a):\n{LINES}", "e.py": f"def i(c):\n{OTHERS}"},
    ),
    ("duplicate code", {"d.py": f"def h(a, b):\n{LINES}\ndef i(c, d):\n{OTHERS}"}),
    ("duplicate code", {"tf/heads.py": SIBLING}),
]


def test_a_good_house_passes() -> None:
    assert [rule(GOOD) for rule in RULES.values()] == [[]] * len(RULES)


@pytest.mark.parametrize(("rule", "change"), FAULTS)
def test_a_planted_fault_is_found(rule: str, change: Sources) -> None:
    assert [name for name, check in RULES.items() if check({**GOOD, **change})] == [rule]


def test_two_functions_in_one_file_are_found() -> None:
    homes = {"A": "ogpt.b:A", "errors": "ogpt.errors", "info": "ogpt.info:info"}
    assert shared_homes(homes) == []
    assert shared_homes({**homes, "tell": "ogpt.info:tell"}) == ["tell"]
