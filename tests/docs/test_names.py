"""Every path and every symbol that CONTRIBUTING.md and docs/architecture.md name exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "itk_infer"
PAGES = ["CONTRIBUTING.md", "docs/architecture.md"]
CODE = ["itk_infer", "tests", "benchmarks"]
# Words in backticks that stand for something else: commands, variables of others, endings of names.
NO_SYMBOLS = {"lint-imports", "mypy", "ruff", "pytest", "ulimit", "DATA", "_xyz", "ITK_NIFTI_SFORM_PERMISSIVE"}
# What a bench reads, and writes.
NO_PATHS = {"ct/", "hippocampus/", "meshnet_gwm/", "benchmarks/results.json"}
FILE = re.compile(r"[\w.*/<>-]+\.(py|md|cfg|toml|sh|json)|[\w.*/<>-]+/")
SYMBOL = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(\))?")


def paths_and_symbols(page: str) -> tuple[list[str], list[str]]:
    text = re.sub(r"^```.*?^```$", "", (REPOSITORY / page).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    words = [word for word in re.findall(r"`([^`\n]+)`", text) if "<" not in word]
    paths = [word for word in words if FILE.fullmatch(word)]
    return paths, [word for word in words if word not in paths and SYMBOL.fullmatch(word)]


@pytest.fixture(scope="module")
def defined() -> set[str]:
    """Names of modules, classes, functions, arguments, attributes and variables."""
    names = set(CODE)
    for path in (path for folder in CODE for path in (REPOSITORY / folder).rglob("*.py")):
        names |= {path.stem, path.parent.name}
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.alias):
                names |= set(node.name.split("."))
    return names


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page: str) -> None:
    paths, _ = paths_and_symbols(page)
    places = (REPOSITORY, PACKAGE, REPOSITORY / "docs")
    missing = [
        path
        for path in paths
        # A bare name of a module is that of a file anywhere in the package.
        if path not in NO_PATHS
        and not any((place / path).exists() for place in places)
        and not any(PACKAGE.rglob(path.rstrip("/")))
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_symbol_exists(page: str, defined: set[str]) -> None:
    _, symbols = paths_and_symbols(page)
    unknown = [name for name in symbols if not set(name.removesuffix("()").split(".")) <= defined | NO_SYMBOLS]
    assert unknown == []
