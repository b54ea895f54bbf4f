"""One name of a large package without the rest of it."""

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
    """A name of a package, for which only the modules are run that define it and what it needs.

    A package like MONAI imports all of itself, and with it what its other parts need, as soon as one class is
    wanted: 2 seconds and 160 MiB for a network whose own modules take 0.2 seconds and 8 MiB. Meanwhile the
    ``__init__.py`` of its packages are read and not run: a name that one of them imports from somewhere in the
    package is looked up there when it is wanted. Afterwards the modules are forgotten: whoever imports the
    package gets all of it.

    Args:
        package: The distribution and its package, which have one name.
        module: In it, as in ``from module import name``.
        name: What to import.

    Raises:
        ImportError: it is not installed.
        AttributeError: the module has no such name.
    """
    if package in sys.modules:
        return getattr(importlib.import_module(module), name)
    try:
        with _lazily(package):
            return getattr(importlib.import_module(module), name)
    except Exception:  # its packages do more than import names: then as everybody does it, with its own errors
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
    """Finds modules of a package, and has its ``__init__.py`` read instead of run."""

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
    """Makes a package whose names are imported when they are wanted."""

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
    """Names that the ``__init__.py`` of a package imports from itself: the module of each, and its name there."""
    homes = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.level < 2:
            home = f"{package}.{node.module}" if node.level else node.module
            if _within(home, package.partition(".")[0]):
                homes.update({alias.asname or alias.name: (home, alias.name) for alias in node.names})
    return homes
