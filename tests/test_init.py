"""The public names: all of them, lazily, and no others in the documentation."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import itk_infer

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
API = (REPOSITORY / "docs" / "python-api.md").read_text("utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The one module besides the package itself that pages import from: it needs pytest.
ALSO_PUBLIC = "itk_infer.testing"


def python_of(page: Path) -> list[ast.AST]:
    blocks = BLOCK.findall(page.read_text("utf-8"))
    return [node for block in blocks for node in ast.walk(ast.parse(block))]


def test_the_api_page_names_exactly_what_is_public() -> None:
    _, _, section = API.partition("## What is public")
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    named = re.findall(r"`(\w+)`", "".join(rows))
    assert sorted(named) == sorted(itk_infer.__all__)


@pytest.mark.parametrize("name", sorted(itk_infer.__all__))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(itk_infer, name) is not None
    assert name in dir(itk_infer)


def test_type_checkers_and_python_find_the_same_names() -> None:
    tree = ast.parse(Path(itk_infer.__file__).read_text("utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imports = {
        alias.asname: f"{node.module}"
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imports == itk_infer._HOMES


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'itk_infer' has no attribute 'run_batch'"):
        _ = itk_infer.run_batch
    with pytest.raises(ImportError):
        from itk_infer import nothing  # noqa: F401


def test_the_import_is_light() -> None:
    """No name is loaded, and no library, before it is asked for."""
    code = "import sys, itk_infer; dir(itk_infer); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"numpy", "SimpleITK", "torch", "onnxruntime", "click", "pytest", ALSO_PUBLIC}
    assert {name for name in loaded if name.startswith("itk_infer.")} == {"itk_infer._version"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_import_public_names_only(page: Path) -> None:
    for node in python_of(page):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "itk_infer":
            assert node.module in ("itk_infer", ALSO_PUBLIC), ast.unparse(node)
        elif isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("itk_infer.")]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "itk_infer":
            assert node.attr in itk_infer.__all__


AFTER = """
import os, sys
from itk_infer.__main__ import main
sys.argv = ["itk_infer", "--version"]
try:
    main()
except SystemExit:
    print(os.environ["OPENBLAS_THREAD_TIMEOUT"])
"""


@pytest.mark.parametrize(("given", "wanted"), [({}, "4"), ({"OPENBLAS_THREAD_TIMEOUT": "20"}, "20")])
def test_threads_of_numpy_do_not_wait_busily_unless_it_is_wanted(given: dict[str, str], wanted: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    words = [sys.executable, "-c", AFTER]
    done = subprocess.run(words, env={**environment, **given}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == wanted
