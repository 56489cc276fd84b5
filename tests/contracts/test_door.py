"""`import ogpt` loads nothing heavy, and every public name is there and stays what it is."""

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

import ogpt
from ogpt.errors import BackendMissing
from ogpt.workflows.doctor import EXTRAS
from tests.contracts.sources import HAS_TENSORFLOW, PACKAGE, loadable_names

FRAMEWORKS = {"torch", "tensorflow", "keras", "transformers"}
HEAVY = FRAMEWORKS | {"numpy", "tokenizers", "safetensors", "huggingface_hub", "pyarrow", "rich"}


def loaded_by(statement: str) -> set[str]:
    program = f"{statement}\nimport sys\nsys.stdout.write('\\n' + ' '.join(sys.modules))"
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return {name.partition(".")[0] for name in result.stdout.splitlines()[-1].split()}


IMPORT_WITHOUT_EXTRAS = """
import importlib, pkgutil, sys
for name in {extras}: sys.modules[name] = None
import ogpt
for module in pkgutil.walk_packages(ogpt.__path__, "ogpt."):
    name = module.name
    apart = (
        "__main__", "integrations.", "model.", "serving.", "tf.", "training.tf_", "training.torch_"
    )
    if name.removeprefix("ogpt.").startswith(apart):
        continue
    importlib.import_module(name)
"""


def test_all_but_the_rooms_of_frameworks_import_without_extras() -> None:
    extras = [name for names in EXTRAS.values() for name in names]
    assert "torch" in extras
    loaded_by(IMPORT_WITHOUT_EXTRAS.format(extras=[*extras, "transformers"]))


def test_import_is_light() -> None:
    loaded = loaded_by("import ogpt")
    assert not loaded & (HEAVY | {"typer"})


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["generate", "--help"]])
def test_help_is_light(arguments: list[str]) -> None:
    loaded = loaded_by(
        "from ogpt.cli.main import app\n"
        f"try: app({arguments})\n"
        "except SystemExit as end: assert not end.code"
    )
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", loadable_names())
def test_public_names_load(name: str) -> None:
    assert getattr(ogpt, name) is not None
    assert name in dir(ogpt)


WITHOUT = """
import sys
sys.modules["{module}"] = None
import ogpt
try: ogpt.{name}
except ogpt.errors.BackendMissing as error: print(error, "|", error.hint)
"""


@pytest.mark.parametrize(
    ("name", "module", "said", "extra"),
    [
        ("TFOpenAIGPTModel", "tensorflow", "ogpt.TFOpenAIGPTModel needs TensorFlow", "tf"),
        ("TFOpenAIGPTLMHeadModel", "keras", "ogpt.TFOpenAIGPTLMHeadModel needs TensorFlow", "tf"),
        ("OpenAIGPTModel", "torch", "ogpt.OpenAIGPTModel needs PyTorch", "torch"),
        ("serve", "fastapi", "ogpt.serve needs FastAPI", "serve"),
    ],
)
def test_a_class_without_its_framework_says_what_to_install(
    name: str, module: str, said: str, extra: str
) -> None:
    program = WITHOUT.format(module=module, name=name)
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.startswith(said)
    assert out.rstrip().endswith(f"pip install 'ogpt[{extra}]'")


@pytest.mark.skipif(HAS_TENSORFLOW, reason="TensorFlow is installed")
def test_a_class_of_tensorflow_without_it() -> None:
    with pytest.raises(BackendMissing, match=r"ogpt\.TFOpenAIGPTModel needs Tensor") as caught:
        ogpt.TFOpenAIGPTModel  # noqa: B018 - looking it up is the test
    assert caught.value.hint == "pip install 'ogpt[tf]'"


def test_another_module_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ogpt._HOMES, "nothing", "ogpt.nothing:nothing")
    with pytest.raises(ModuleNotFoundError, match=r"ogpt\.nothing"):
        ogpt.nothing  # noqa: B018


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'ogpt' has no attribute 'pretrian'"):
        ogpt.pretrian  # noqa: B018 - looking it up is the test


def test_editors_see_what_loads() -> None:
    """The names imported for type checkers are those that load on first use, from one place."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    seen = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ogpt"):
            for alias in node.names:
                if alias.asname:
                    inside = node.module == "ogpt"
                    home = f"ogpt.{alias.name}" if inside else f"{node.module}:{alias.name}"
                    seen[alias.asname] = home
    assert seen == ogpt._HOMES
    assert set(ogpt.__all__) == {*seen, "__version__"}


def test_no_submodule_shadows_a_public_function() -> None:
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    for name in modules & set(ogpt.__all__):
        assert inspect.ismodule(getattr(ogpt, name)), f"ogpt/{name} hides ogpt.{name}()"


@pytest.mark.parametrize(
    "home",
    sorted(
        {ogpt._HOMES[name].partition(":")[0] for name in loadable_names() if name in ogpt._HOMES}
    ),
)
def test_public_functions_outlive_their_modules_import(home: str) -> None:
    importlib.import_module(home)
    for name, place in ogpt._HOMES.items():
        if place.startswith(f"{home}:"):
            assert not inspect.ismodule(getattr(ogpt, name))
