"""Sentences of the library speak of Python arguments; only the command line knows flags."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import itk_infer

PACKAGE = Path(itk_infer.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z]")
# Where flags are declared.
DECLARED = {"options.py", "options_of_models.py", "model/registry.py", "outputs/registry.py"}
# Of other programs: pip, SLURM's directives; and variables of style sheets.
OF_OTHERS = ("pip install --", "--gres=gpu:", ":root { ")


def modules() -> list[str]:
    """The modules of the library, without those of the command line."""
    paths = (path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    return sorted(path for path in paths if not path.startswith("cli/") and path not in DECLARED)


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Line and value of each string that is not a docstring, parts of f-strings included."""
    tree = ast.parse(source)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value


def flags_in(source: str) -> list[tuple[int, str]]:
    return [
        (line, text)
        for line, text in texts(source)
        if FLAG.search(text) and not any(word in text for word in OF_OTHERS)
    ]


@pytest.mark.parametrize("module", modules())
def test_messages_of_the_library_name_no_flags(module):
    found = flags_in((PACKAGE / module).read_text(encoding="utf-8"))
    assert not found, "write `name` or `name=value`, see `with_flags` of itk_infer/cli/options.py"


def test_flags_are_found_in_every_kind_of_string():
    source = '"""--not here"""\nx = "(--one)"\ny = f"{x}: leave --two out"\nz = "a -- b, x--y and --gres=gpu:1"\n'
    assert [line for line, _ in flags_in(source)] == [2, 3]
