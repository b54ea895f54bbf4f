"""Tests that every implementation of an interface must pass: subclass its test class, and provide the object.

``from itk_infer.testing import BackendTests`` needs pytest; `FaultyModel` does not, as it is loaded in workers.
See docs/extending.md.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itk_infer.testing.backends import BackendTests as BackendTests
    from itk_infer.testing.executors import ExecutorTests as ExecutorTests
    from itk_infer.testing.faulty import FaultyModel as FaultyModel
    from itk_infer.testing.formats import FormatTests as FormatTests
    from itk_infer.testing.outputs import OutputTests as OutputTests
    from itk_infer.testing.workspaces import WorkspaceTests as WorkspaceTests

_MODULES = {
    "BackendTests": "backends",
    "ExecutorTests": "executors",
    "FaultyModel": "faulty",
    "FormatTests": "formats",
    "OutputTests": "outputs",
    "WorkspaceTests": "workspaces",
}

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"{__name__}.{_MODULES[name]}"
    if name.endswith("Tests") and module not in sys.modules:
        import pytest

        pytest.register_assert_rewrite(module)  # so that failed assertions show the values
    return getattr(import_module(module), name)
