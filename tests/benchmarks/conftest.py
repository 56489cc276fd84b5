"""Load the package `benchmarks`, which is on no import path."""

import importlib.util
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"


def load_benchmarks() -> None:
    """Put `benchmarks` into sys.modules, so that its modules are found through its `__path__`."""
    spec = importlib.util.spec_from_file_location(
        "benchmarks", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["benchmarks"] = package
    spec.loader.exec_module(package)


load_benchmarks()  # before the test modules beside this file are imported
