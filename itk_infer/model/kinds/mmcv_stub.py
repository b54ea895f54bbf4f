"""Make mmsegmentation importable where mmcv has no compiled operations (mmcv-lite)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


class _NoOperations(ModuleType):
    """A module with every compiled operation as an attribute; calling one raises."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"the network calls mmcv's compiled operation {name}; build mmcv 2.1.0 from source")

        return missing


def import_mmcv_ops() -> None:
    """Import ``mmcv.ops``, which mmsegmentation always imports, with a stub if ``mmcv._ext`` is missing.

    The operations are bound while ``mmcv.ops`` is imported, so the stub is removed immediately afterwards:
    MMEngine concludes from the presence of ``mmcv._ext`` that operations are compiled.
    """
    name = "mmcv._ext"
    if importlib.util.find_spec("mmcv") is None or "mmcv.ops" in sys.modules:
        return
    if importlib.util.find_spec(name) is not None:
        return
    sys.modules[name] = _NoOperations(name)
    try:
        importlib.import_module("mmcv.ops")
    finally:
        del sys.modules[name]
