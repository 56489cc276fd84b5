"""Rules of the tests: independent modules, assertions, repeatable randomness, no patched source."""

from __future__ import annotations

import ast
import random
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.contracts.sources import ROOT

TESTS = ROOT / "tests"
Modules = dict[str, ast.Module]
"""By full name."""

CHECKS = {"raises", "warns", "fail"}
"""Checks of pytest. `assert`, `assert_...()` and `check=True` of a process count too."""
CLOCKS = {"time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "now", "urandom"}
GENERATORS = {"Random", "default_rng", "RandomState", "PCG64", "SystemRandom"}
"""Random number generators that take a seed from the system if none is given."""
SEEDING = GENERATORS | {"seed", "manual_seed", "SeedSequence"}
SHARED = {name for name in dir(random) if name.islower() and not name.startswith("_")}
"""Functions of the module `random`, whose shared generator is seeded by the system."""

SOURCE = re.compile(r"\b(?:PACKAGE|CSRC|csrc|getsource)\b|__file__|\.(?:py|cpp|inc|h)'")
"""Marks of code that works on source text of the package."""


@cache
def modules() -> Modules:
    """All files of the tests."""
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): ast.parse(file.read_text("utf-8"))
        for file in sorted(TESTS.rglob("*.py"))
    }


def is_test(module: str) -> bool:
    return module.rpartition(".")[2].startswith("test_")


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each imported name, with its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                (alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names
            )


def name_of(node: ast.AST) -> str:
    """`a.b.c` if the node is such an expression, else the empty string."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call, with the last part of its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, getattr(node.func, "attr", getattr(node.func, "id", ""))


# ---- rules: each returns its violations


def imported_tests(found: Modules) -> list[str]:
    """Imports of test modules. Shared code belongs to modules without `test_` in their name."""
    return [
        f"{name} imports {target}"
        for name, tree in found.items()
        for _, target in imports(tree)
        if any(part.startswith("test_") for part in target.split(".")[:-1])
        or (target in found and is_test(target))
    ]


def checks(tree: ast.AST) -> bool:
    """Whether the code itself asserts something."""
    if any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        return True
    return any(
        name in CHECKS
        or name.startswith("assert_")
        or any(k.arg == "check" and ast.unparse(k.value) == "True" for k in call.keywords)
        for call, name in calls(tree)
    )


def definitions(found: Modules) -> dict[str, ast.stmt]:
    """Top-level definitions of all modules, by full name."""
    defined: dict[str, ast.stmt] = {}
    for module, tree in found.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined[f"{module}.{node.name}"] = node
            elif isinstance(node, ast.Assign):
                defined |= {f"{module}.{name_of(each)}": node for each in node.targets}
    return defined


def without_assertions(found: Modules) -> list[str]:
    """Tests without an assertion, neither their own nor in a helper that they use."""
    defined = definitions(found)
    known_in = {module: dict(imports(tree)) for module, tree in found.items()}
    uses: dict[str, set[str]] = {}
    for name, node in defined.items():
        module = name.rpartition(".")[0]
        known = known_in[module]
        uses[name] = set()
        for used in filter(None, map(name_of, ast.walk(node))):
            first, _, rest = used.partition(".")
            full = known.get(first, f"{module}.{first}")
            uses[name] |= {full, f"{full}.{rest}"} & defined.keys()
    checking = {name for name, node in defined.items() if checks(node)}
    while more := {name for name in uses.keys() - checking if uses[name] & checking}:
        checking |= more
    return [
        name
        for name, node in defined.items()
        if is_test(name) and is_test(name.rpartition(".")[0]) and name not in checking
        if isinstance(node, ast.FunctionDef)
    ]


def differing_random_numbers(found: Modules) -> list[str]:
    """Random numbers without a seed, or with one from the clock: failures would not repeat."""
    broken = []
    for module, tree in found.items():
        known = dict(imports(tree))
        for call, name in calls(tree):
            first, _, rest = name_of(call.func).partition(".")
            full = f"{known.get(first, '')}.{rest}".strip(".")
            shared = full.startswith("random.") and rest in SHARED - {"seed"}
            shared |= full.startswith("numpy.random.") and name.islower() and name != "default_rng"
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            unseeded = name in GENERATORS and not given
            clock = name in SEEDING and any(
                each in CLOCKS for value in given for _, each in calls(value)
            )
            if shared or unseeded or clock:
                broken.append(f"{module}:{call.lineno}: {ast.unparse(call)}")
    return broken


def patched_sources(found: Modules) -> list[str]:
    """Functions that change source text and write or run it; faults come in as values instead."""
    broken = []
    for module, tree in found.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and SOURCE.search(ast.unparse(node)):
                changed = any(
                    name in ("write_text", "write_bytes", "exec", "compile")
                    and any(inner in ("replace", "sub") for _, inner in calls(call))
                    for call, name in calls(node)
                )
                broken += [f"{module}.{node.name}"] * changed
    return broken


RULES: dict[str, Callable[[Modules], list[str]]] = {
    rule.__name__: rule
    for rule in (imported_tests, without_assertions, differing_random_numbers, patched_sources)
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_kept(rule: str) -> None:
    assert RULES[rule](modules()) == []


def test_only_the_package_is_on_the_import_path() -> None:
    """Otherwise tests could pass because of files that users do not have."""
    path = {Path(entry).resolve() for entry in sys.path}  # "" stands for the current folder
    found = path & {ROOT, TESTS, ROOT / "benchmarks"}
    assert not found, "run `pytest`: `python -m pytest` adds the current folder to the path"


# ---- planted faults

HELPER = """
def close(left, right):
    assert left == right

def look(left):
    return left

CASES = {"one": close}
"""
FAULTS = {
    "from tests.test_b import texts\ndef test(): assert texts": "imported_tests",
    "from tests import test_b\ndef test(): assert test_b": "imported_tests",
    "def test_a():\n    pass": "without_assertions",
    "from tests.helper import look\ndef test_a():\n    look(1)": "without_assertions",
    "import subprocess\ndef test_a():\n    subprocess.run([], check=False)": "without_assertions",
    "import random, time\nD = random.Random(f'{time.time_ns()}')": "differing_random_numbers",
    "import numpy as np\nD = np.random.default_rng()": "differing_random_numbers",
    "import numpy as np\nD = np.random.normal(3)": "differing_random_numbers",
    "import random\nD = random.choice([1, 2])": "differing_random_numbers",
    "from random import Random\nD = Random()": "differing_random_numbers",
    "def plant(t):\n    (CSRC / 'tiles.h').write_text(t.replace('a', 'b'))": "patched_sources",
    "def plant(m):\n    exec(inspect.getsource(m).replace('a', 'b'))": "patched_sources",
}
GOOD = """
import random, subprocess, time
import numpy as np
import pytest
from tests import helper
from tests.helper import CASES, close as near

DRAW = random.Random(1), np.random.default_rng(0), time.time()

def test_a():
    near(1, 1)
def test_b():
    helper.close(1, 1)
def test_c():
    CASES["one"](DRAW[0].choice([1]), 1)
def test_d():
    subprocess.run([], check=True)
def test_e():
    with pytest.raises(ValueError): pass
def test_e2(file):
    file.write_text(file.read_text().replace("a", "b"))
    near(1, 1)
def test_f():
    np.testing.assert_allclose(1, 1)
"""


def broken(source: str) -> set[str]:
    """Names of the rules that a module breaks, next to a helper and another test."""
    sources = {"tests.test_a": source, "tests.helper": HELPER, "tests.test_b": "texts = 1"}
    found = {name: ast.parse(text) for name, text in sources.items()}
    return {name for name, rule in RULES.items() if rule(found)}


@pytest.mark.parametrize("source", FAULTS)
def test_a_planted_fault_is_found(source: str) -> None:
    assert broken(source) == {FAULTS[source]}


def test_a_good_module_passes() -> None:
    assert broken(GOOD) == set()
