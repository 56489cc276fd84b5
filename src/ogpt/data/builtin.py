"""The text that ships with every CPython: its documentation and its source code.

Files are read, and parsed with `ast`; nothing of the standard library is imported or run.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import io
import os
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ogpt.errors import SourceNotFound

NAMES = {
    "python-docs": "the topics of pydoc and the docstrings of the standard library",
    "python-code": "the Python files of the standard library",
}

# no part of the standard library, or not on every system (Debian packages the tests separately)
_SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
)
# generated tables, which are no prose and no handwritten code
_TABLES = frozenset({"pydoc_data/topics.py", "html/entities.py", "stringprep.py"})
_TOPICS = "pydoc_data/topics.py"


def library_folder() -> Path:
    """Folder of this Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


@cache
def library_files(folder: Path) -> tuple[Path, ...]:
    """The Python files of the library without its tests, in alphabetical order.

    Raises:
        SourceNotFound: there are none (an embedded Python has compiled files only).
    """
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED_FOLDERS and not name.startswith("config-")
        ]
        found += [Path(parent, name) for name in files if name.endswith(".py")]
    kept = [path for path in found if not path.name.startswith("_sysconfigdata")]
    if not kept:
        raise SourceNotFound(
            f"this Python has no source files of its standard library in {folder}",
            hint="use a Python with its full standard library, or pass files with --data",
        )
    return tuple(sorted(kept, key=lambda path: path.relative_to(folder).as_posix()))


def size_and_sha256(folder: Path) -> tuple[int, str]:
    """Bytes in the library's files, and one hash over their names and contents."""
    digest = hashlib.sha256()
    size = 0
    for path in library_files(folder):
        content = path.read_bytes()
        size += len(content)
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return size, digest.hexdigest()


def texts(name: str, folder: Path) -> Iterator[tuple[str, str, int]]:
    """The documents of a built-in source: text, file, and bytes read so far.

    A docstring that occurs again, as inherited ones do, is skipped.
    """
    read = 0
    seen: set[str] = set()
    for path in library_files(folder):
        content = path.read_bytes()
        read += len(content)
        file = path.relative_to(folder).as_posix()
        if name == "python-code":
            text = _code(content, file)
            if text:
                yield text, file, read
            continue
        for origin, parts in _docs(content, file):
            new = [text for text in parts if text not in seen]
            seen.update(new)
            if new:
                yield "\n\n".join(new), origin, read


def docstrings(folder: Path) -> Iterator[tuple[str, str]]:
    """Each docstring of the library once, and the file it first occurs in."""
    seen: set[str] = set()
    for path in library_files(folder):
        file = path.relative_to(folder).as_posix()
        if file in _TABLES:
            continue
        new = [text for text in _docstrings(path.read_bytes()) if text not in seen]
        seen.update(new)
        yield from ((text, file) for text in dict.fromkeys(new))


def _code(content: bytes, file: str) -> str:
    """The file as text; empty for a generated table."""
    if file in _TABLES or b"gencodec.py" in content[:500]:
        return ""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return content.decode(encoding)


def _docs(content: bytes, file: str) -> list[tuple[str, list[str]]]:
    """The documents of a file, each in parts: one per topic of pydoc, or all docstrings in one."""
    if file == _TOPICS:
        return [(f"{file}:{topic}", [text]) for topic, text in _topics(content).items()]
    return [(file, _docstrings(content))]


def _topics(content: bytes) -> dict[str, str]:
    """The dictionary that the file assigns, in its order."""
    for statement in _parse(content).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            topics: dict[str, str] = ast.literal_eval(statement.value)
            return topics
    return {}


def _docstrings(content: bytes) -> list[str]:
    """Docstrings of the module, its classes and functions, in the order of the file."""
    found = []
    for node in ast.walk(_parse(content)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text and text.strip():
                line = 0 if isinstance(node, ast.Module) else node.lineno
                found.append((line, inspect.cleandoc(text)))
    return [text for _, text in sorted(found, key=lambda item: item[0])]


def _parse(content: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escape sequences, which later Pythons will refuse
        return ast.parse(content)
