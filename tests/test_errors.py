"""Errors say what was wrong and carry a hint; the tree in the docstring is the tree of classes."""

import inspect
import re

import pytest

from ogpt import errors
from ogpt.errors import OgptError

CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, OgptError)
}


def drawn_tree() -> dict[str, tuple[str, list[str]]]:
    """Name -> (parent, built-in bases), as the docstring draws it."""
    tree: dict[str, tuple[str, list[str]]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│ ]*)(?:[├└]── )?(\w+)(?: \(([\w, ]+)\))?", line)
        if match is None or not (match[2] == "OgptError" or re.search("[├└]── ", line)):
            continue
        depth = 0 if match[2] == "OgptError" else len(match[1]) // 4 + 1
        path[depth:] = [match[2]]
        parent = path[depth - 1] if depth else "Exception"
        tree[match[2]] = (parent, match[3].split(", ") if match[3] else [])
    return tree


def test_docstring_draws_the_classes() -> None:
    real = {
        name: (cls.__bases__[0].__name__, [base.__name__ for base in cls.__bases__[1:]])
        for name, cls in CLASSES.items()
    }
    assert drawn_tree() == real


def test_message_and_hint() -> None:
    """Whatever a built-in base makes of its arguments (OSError: errno), the message is shown."""
    for cls in CLASSES.values():
        error = cls("model.n_layer is 0; allowed: 1 or more", hint="use --set")
        assert str(error) == "model.n_layer is 0; allowed: 1 or more"
        assert error.hint == "use --set"


def test_every_class_takes_a_hint() -> None:
    assert {cls.__init__ for cls in CLASSES.values()} == {OgptError.__init__}
    with pytest.raises(TypeError, match="hint"):
        OgptError("no hint given")  # type: ignore[call-arg]  # the point of the test
