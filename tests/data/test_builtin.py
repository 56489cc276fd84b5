"""The text inside every CPython: found without importing it, the same every time."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from ogpt.data import builtin
from ogpt.data.documents import documents
from ogpt.data.sources import open_sources
from ogpt.errors import SourceNotFound

LIBRARY = {
    "a.py": '"""Module   a."""\n\ndef f():\n    """Do f.\n\n    Well.\n    """\n',
    "b/__init__.py": '"""Module b."""\nclass C:\n    """Do f.\n\n    Well."""\n    x = "\\d"\n',
    "b/c.py": "async def g():\n    '''Do g.'''\n    def h(): '''Do h.'''\n",
    "b/empty.py": "",
    "b/blank.py": "'''  '''\n",
    "latin.py": "# coding: latin-1\n'''Caf\xe9.'''\n",
    "pydoc_data/topics.py": (
        "topics = {'if': 'The if statement', 'for': r'''Loop.''', 'while': 'Loop.'}\n"
    ),
    "encodings/cp1.py": '"""Codec generated with gencodec.py."""\ntable = ()\n',
    "html/entities.py": '"""Entities."""\ntable = {}\n',
    "test/test_a.py": '"""Not this."""\n',
    "site-packages/x.py": '"""Nor this."""\n',
    "config-3/y.py": '"""Nor that."""\n',
    "_sysconfigdata_linux.py": '"""Nor that."""\n',
    "z.pyc": "no source",
}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in LIBRARY.items():
        path = tmp_path / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "latin-1")
    monkeypatch.setattr(builtin, "library_folder", lambda: tmp_path / "lib")
    return tmp_path / "lib"


def test_docs_are_topics_and_docstrings(library: Path) -> None:
    found = documents(open_sources(["builtin:python-docs"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [(document.origin.partition("/")[2], document.text) for document in found] == [
            ("a.py", "Module   a.\n\nDo f.\n\nWell."),
            ("b/__init__.py", "Module b."),  # the copy of another docstring is left out
            ("b/c.py", "Do g.\n\nDo h."),
            ("encodings/cp1.py", "Codec generated with gencodec.py."),
            ("html/entities.py", "Entities."),
            ("latin.py", "Café."),
            ("pydoc_data/topics.py:if", "The if statement"),
            ("pydoc_data/topics.py:for", "Loop."),
        ]


def test_code_is_the_files_without_tables(library: Path) -> None:
    found = {
        document.origin: document.text
        for document in documents(open_sources("builtin:python-code"))
    }
    prefix = "builtin:python-code/"
    names = ["a.py", "b/__init__.py", "b/c.py", "b/blank.py", "latin.py"]
    assert found == {prefix + name: LIBRARY[name] for name in names}


def test_the_hash_is_that_of_names_and_contents(library: Path) -> None:
    [source] = open_sources("builtin:python-docs")
    before = source.description
    assert source.size == before["size"]
    (library / "a.py").write_text("'''New.'''")
    [changed] = open_sources("builtin:python-docs")
    assert changed.description["sha256"] != before["sha256"]


def test_a_library_without_topics(library: Path) -> None:
    (library / "pydoc_data/topics.py").write_text("topics = None\n")
    assert len(list(documents(open_sources("builtin:python-docs")))) == 6


def test_a_python_without_source_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "library_folder", lambda: tmp_path)
    with pytest.raises(SourceNotFound, match="no source files of its standard library") as caught:
        open_sources("builtin:python-docs")
    assert "--data" in caught.value.hint


def test_this_python_has_both() -> None:
    before = set(sys.modules)
    [docs, code] = open_sources(["builtin:python-docs", "builtin:python-code"])
    found = list(documents([docs]))
    imported = set(sys.modules) - before
    assert not imported & {"antigravity", "pydoc_data.topics", "this", "turtle", "xmlrpc.client"}
    size = sum(len(document.text.encode()) for document in found)
    assert 1_500_000 < size < 4_000_000
    assert len(found) > 400
    assert len({document.text for document in found}) == len(found)
    assert found[-1].position <= docs.size
    assert any(
        "The if statement is used for conditional execution" in d.text.replace('"', "")
        for d in found
    )
    size = sum(len(document.text.encode()) for document in documents([code]))
    assert size > 5_000_000
