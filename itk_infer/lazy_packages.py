"""Import of single names from large packages, without importing the whole package."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.metadata
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_one_at_a_time = threading.RLock()


def import_name(package: str, module: str, name: str) -> Any:
    """Import a name from a package, running only the modules that define it and their dependencies.

    A package like MONAI imports all its parts and their dependencies as soon as one class is imported:
    2 seconds and 160 MiB for a network whose own modules take 0.2 seconds and 8 MiB. During this import, the
    ``__init__.py`` of its packages are parsed and not run: names that they import from within the package are
    resolved when they are used. Afterwards the modules are removed from `sys.modules`, so that later imports of
    the package get all of it.

    Args:
        package: Name of the distribution and of its package.
        module: Module in the package, as in ``from module import name``.
        name: Name to import.

    Raises:
        ImportError: the package is not installed.
        AttributeError: the module has no such name.
    """
    if package in sys.modules:
        return getattr(importlib.import_module(module), name)
    try:
        with _lazily(package):
            return getattr(importlib.import_module(module), name)
    except Exception:  # its packages do more than import names, so a normal import is done
        return getattr(importlib.import_module(module), name)


@contextmanager
def _lazily(package: str) -> Iterator[None]:
    finder = _Finder(package)
    with _one_at_a_time:
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for name in [name for name in sys.modules if _within(name, package)]:
                del sys.modules[name]


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


class _Finder:
    """Finds modules of a package, and replaces running their ``__init__.py`` by parsing it."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not _within(name, self._package):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader = spec.loader if spec is not None else None
        is_package = spec is not None and spec.submodule_search_locations is not None
        if spec is not None and is_package and isinstance(loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Reader(loader.name, loader.path)
        return spec


class _Reader(importlib.machinery.SourceFileLoader):
    """Loads a package whose names are imported on first access."""

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[0]
        homes = _imported(self.get_data(self.path), module.__name__)

        def find(name: str) -> Any:
            if name not in homes:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            home, own_name = homes[name]
            value = getattr(importlib.import_module(home), own_name)
            setattr(module, name, value)
            return value

        module.__dict__["__getattr__"] = find
        if module.__name__ == package:
            module.__dict__["__version__"] = importlib.metadata.version(package)


def _imported(source: bytes, package: str) -> dict[str, tuple[str, str]]:
    """Names that a package's ``__init__.py`` imports from the package: for each, the module and the name in it."""
    homes = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.level < 2:
            home = f"{package}.{node.module}" if node.level else node.module
            if _within(home, package.partition(".")[0]):
                homes.update({alias.asname or alias.name: (home, alias.name) for alias in node.names})
    return homes
