"""Lets mmsegmentation be imported where mmcv came without its compiled operations (mmcv-lite)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


class _NoOperations(ModuleType):
    """Answers for every compiled operation; fails only when one is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"the network calls mmcv's compiled operation {name}; build mmcv 2.1.0 from source")

        return missing


def import_mmcv_ops() -> None:
    """Import ``mmcv.ops``, which mmsegmentation imports unasked, with a stand-in if ``mmcv._ext`` is absent.

    The operations are bound while ``mmcv.ops`` is imported, so the stand-in is taken away again at once: by
    the presence of ``mmcv._ext`` MMEngine decides whether operations are compiled, and it must not be deceived.
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
