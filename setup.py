"""Builds the native decoder: a plain library that ctypes loads, so no Python module.

A build that fails leaves a working package without it; OGPT_REQUIRE_NATIVE=1 makes that an error.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = sorted(map(str, Path("src/ogpt/decoding/native/csrc").iterdir()))
# .so alone is a Python module to whoever walks the package
ENDING = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so.1")


class BuildLibrary(build_ext):
    """One file without the interpreter's tag, for it knows nothing of Python."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", os.sep) + ENDING

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []  # no PyInit: the C interface exports itself


class Wheel(bdist_wheel):
    """For every Python, on this platform."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[
        Extension(
            "ogpt.decoding.native.libogpt",
            [name for name in SOURCES if name.endswith(".cpp")],
            depends=[*SOURCES, "setup.py"],
            language="c++",
            # kernels name their instructions themselves, fused multiply-add too (vectors.inc);
            # psabi: they share no vectors across files
            extra_compile_args=["-std=c++17", "-O3", "-ffp-contract=off", "-Wno-psabi"],
            extra_link_args=["-pthread"],
            optional=os.environ.get("OGPT_REQUIRE_NATIVE") != "1",  # without it PyTorch decodes
        )
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": Wheel},
)
