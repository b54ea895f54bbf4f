"""The user's own Python modules that a config imports: beside the config, or on PYTHONPATH."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from modulefinder import ModuleFinder
from pathlib import Path

from itk_infer.errors import ModelError

INSTALLED = {"site-packages", "dist-packages"}


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Append a folder to `sys.path` within the block; installed packages take precedence."""
    entry = str(folder.resolve())
    sys.path.append(entry)
    try:
        yield
    finally:
        with suppress(ValueError):  # the config's code may have removed the entry
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(entry)]


def check_imports(names: Iterable[str], folder: Path) -> None:
    """Refuse modules of a folder if another module of the same name was imported instead.

    Raises:
        ModelError: there is such a module.
    """
    for name in names:
        place = folder.joinpath(*name.split("."))
        beside = next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if beside is not None and loaded is not None and not beside.samefile(loaded):
            raise ModelError(
                f"custom_imports has {name}, which was imported from {loaded}, not from {beside}; rename the "
                "one beside the config, or load this model in a process of its own"
            )


def code_digest(config: Path, roots: Iterable[str]) -> bytes:
    """SHA-256 of the user's own modules that a config and `roots` import, also indirectly; empty without any.

    Installed packages and the config itself are not included. Files are searched for imports, not run.

    Args:
        config: The config file; modules beside it are included.
        roots: Names of imported modules: those in custom_imports, and those of the network's classes.
    """
    roots = sorted(set(roots))
    finder = ModuleFinder(_folders(config, roots), excludes=["itk_infer"])
    with suppress(Exception):  # any error of foreign code; a module imported earlier does not matter
        finder.run_script(str(config))
    for root in roots:
        with suppress(Exception):
            finder.import_hook(root)
    files = {name: getattr(module, "__file__", None) for name, module in finder.modules.items()}
    files.pop("__main__", None)
    digest = hashlib.sha256()
    found = False
    for name, file in sorted(files.items()):
        loaded = getattr(sys.modules.get(name), "__file__", file)
        if file is not None and loaded == file:
            found = True
            digest.update(f"{name}\0".encode() + hashlib.sha256(Path(file).read_bytes()).digest())
    return digest.digest() if found else b""


def _folders(config: Path, roots: Iterable[str]) -> list[str]:
    """Folders in which the user's own modules can be."""
    folders = [config.resolve().parent, *(Path(entry or ".").resolve() for entry in sys.path)]
    for root in roots:
        file = getattr(sys.modules.get(root), "__file__", None)
        if file is not None:
            up = root.count(".") + (Path(file).name == "__init__.py")
            folders.append(Path(file).resolve().parents[up])
    standard = Path(sysconfig.get_path("stdlib"))
    own = [f for f in folders if f.is_dir() and not INSTALLED & set(f.parts) and not f.is_relative_to(standard)]
    return list(dict.fromkeys(map(str, own)))
