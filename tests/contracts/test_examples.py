"""Every public class has an example, and the examples run as shown."""

import doctest
import importlib
import inspect
import warnings
from pathlib import Path

import pytest

import ogpt
from tests.contracts.sources import PACKAGE, loadable_modules, loadable_names

CLASSES = [name for name in loadable_names() if inspect.isclass(getattr(ogpt, name))]


def failures(example: doctest.DocTest) -> str:
    """The failures of a docstring's examples; a warning is an error."""
    report: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    return "".join(report)


def test_the_classes_are_found() -> None:
    assert {"OpenAIGPTConfig", "OpenAIGPTModel", "OpenAIGPTTokenizerFast"} <= set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_an_example_that_runs(name: str) -> None:
    own = vars(getattr(ogpt, name)).get("__doc__")  # not a base's
    example = parsed(inspect.cleandoc(own or ""))  # without the module's names: it imports its own
    assert example.examples, f"{name} has no example"
    assert failures(example) == ""


OTHERS = [path for path in loadable_modules() if ">>>" in path.read_text("utf-8")]


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_example_of_a_module_runs(path: Path) -> None:
    module = importlib.import_module(
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    )
    for example in doctest.DocTestFinder().find(module):
        assert failures(example) == ""


EXAMPLE = """
>>> import warnings
>>> 1 + 1
2
"""


def parsed(text: str) -> doctest.DocTest:
    return doctest.DocTestParser().get_doctest(text, {}, "example", None, None)


def test_a_good_example_passes() -> None:
    assert failures(parsed(EXAMPLE)) == ""


@pytest.mark.parametrize(
    ("wrong", "report"),
    [("1 + 2", "Got:\n    3"), ("1 / 0", "ZeroDivisionError"), ("warnings.warn('old')", "old")],
)
def test_a_planted_fault_shows(wrong: str, report: str) -> None:
    assert report in failures(parsed(EXAMPLE.replace("1 + 1", wrong)))
