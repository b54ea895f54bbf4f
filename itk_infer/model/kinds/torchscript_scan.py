"""Check the program in a TorchScript file before torch compiles it.

A TorchScript file holds source text, which torch compiles and runs. It may use any operator of torch, among them
some that write files (``aten::save``, ``aten::from_file``), and torch cannot switch these off. So every name in it
must be on a list.
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from itk_infer.errors import ModelError
from itk_infer.files.zip_archive import ZipArchive
from itk_infer.model.kinds.torch_operators import ATEN, PRIM

MAX_ENTRIES = 200_000
MAX_CODE_BYTES = 32 * 2**20
_CALLS = {
    *(
        "annotate",
        "bool",
        "float",
        "getattr",
        "int",
        "isinstance",
        "len",
        "list",
        "range",
        "sorted",
        "str",
        "tuple",
    ),
    *("unchecked_cast", "uninitialized", "min", "max", "abs"),
}
_ROOTS = ("torch", "ops", "__torch__")
_BOUND = re.compile(r"_\d+")  # variables to which the program assigns functions
_SYNTAX = (ast.Import, ast.ImportFrom, ast.With, ast.Try, ast.Lambda, ast.AsyncFunctionDef, ast.Await, ast.Global)


def scan_torchscript(path: Path, operators: frozenset[str]) -> None:
    """Refuse a program that uses anything but known operators and its own functions.

    Args:
        path: The file.
        operators: Names of all ATen operators of this torch. Functions of the program must not have the name of
            an operator that is not on the list, because a call would be ambiguous.

    Raises:
        ModelError: it does (the message has the first name), or the archive is damaged or crafted.
    """
    trees = list(_trees(path))
    functions = {node.name for _, tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for name in sorted(functions & (operators - ATEN)):
        raise ModelError(
            f"{path}: refused, because it names a function {name}, which is also an operator of torch"
        )
    for where, tree in trees:
        _Scan(path, where, functions, operators - ATEN).look(tree)


def _trees(path: Path) -> Iterator[tuple[str, ast.Module]]:
    """The sources of the program, each with its name in the archive."""
    try:
        with ZipArchive(path) as archive:
            entries = archive.infolist()
            _check_names(path, entries)
            # In any folder: torch uses the folder of the first entry, and ignores case.
            sources = [entry for entry in entries if entry.filename.casefold().endswith(".py")]
            if sum(entry.file_size for entry in sources) > MAX_CODE_BYTES:
                raise ModelError(f"{path}: refused, because its code has more than {MAX_CODE_BYTES} bytes")
            for entry in sources:
                with archive.open(entry) as file:
                    text = file.read(entry.file_size + 1)
                yield entry.filename, ast.parse(text)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy or download it again") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ModelError(f"{path}: refused, because its code cannot be read as TorchScript") from None


def _check_names(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename.casefold() for entry in entries]
    if len(names) > MAX_ENTRIES:
        raise ModelError(f"{path}: refused, because it holds more than {MAX_ENTRIES} entries")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ModelError(f"{path}: refused, because it holds {twice[:80]!r} twice")


class _Scan:
    """Checks one source file."""

    def __init__(self, path: Path, where: str, functions: set[str], unknown: frozenset[str]) -> None:
        self._unknown = unknown  # operators that are not known
        self._path = path
        self._where = where
        self._functions = functions

    def look(self, tree: ast.Module) -> None:
        """Raise for the first name or statement that is not on the list."""
        checked: set[int] = set()  # names at the beginning of a dotted name that was checked
        for node in ast.walk(tree):
            if isinstance(node, _SYNTAX):
                raise self._refused(type(node).__name__.lower())
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                name = node.func.id
                if name not in _CALLS and not _BOUND.fullmatch(name):
                    raise self._refused(name)
            if isinstance(node, ast.Attribute) and id(node) not in checked:
                self._chain(node, checked)
            if isinstance(node, ast.Name) and node.id in _ROOTS and id(node) not in checked:
                variable = node.id == "ops" and isinstance(node.ctx, ast.Store)  # a module of this name
                if not variable:
                    raise self._refused(node.id)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                self._method(node.func)

    def _chain(self, node: ast.Attribute, checked: set[int]) -> None:
        """Check a dotted name: those of torch must be on the list; the program's own must not be C++ classes."""
        path: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            checked.add(id(inner))
            path.insert(0, inner.attr)
            inner = inner.value
        root = inner.id if isinstance(inner, ast.Name) else ""
        if root not in _ROOTS:
            # An attribute of a value may be an operator, even if it is not called here.
            for attribute in path:
                if attribute in self._unknown:
                    raise self._refused(attribute)
            return
        checked.add(id(inner))
        name = ".".join([root, *path])
        known = {
            "torch": len(path) == 1 and path[0] in ATEN,
            "ops": (len(path) == 2 and path[1] in {"prim": PRIM, "aten": ATEN}.get(path[0], ()))
            or (len(path) == 1 and path[0] in self._functions),
            "__torch__": "torch.classes." not in f"{name}.",
        }
        if not known[root]:
            raise self._refused(name)

    def _method(self, function: ast.Attribute) -> None:
        """Check a method call: a function of the program, or an operator on the list."""
        root: ast.expr = function
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and root.id in _ROOTS:
            return  # checked as a dotted name
        if function.attr not in self._functions and function.attr not in ATEN and function.attr != "__len__":
            raise self._refused(function.attr)

    def _refused(self, name: str) -> ModelError:
        return ModelError(
            f"{self._path}: refused, because its program uses {name[:80]} ({self._where}), which is not among the "
            "operators that networks need; a harmful file may. Export the network to ONNX where it was made"
        )
