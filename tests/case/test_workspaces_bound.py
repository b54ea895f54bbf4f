from __future__ import annotations

import sys

import pytest

from itk_infer.case import workspaces
from itk_infer.case.workspaces import SIMPLEITK, Workspaces
from itk_infer.machine import MemoryBound


@pytest.mark.parametrize("loaded", [True, False])
def test_simpleitk_is_reserved_until_it_is_loaded(monkeypatch: pytest.MonkeyPatch, loaded: bool) -> None:
    asked = []

    def bound(later: dict[str, int] | None = None) -> MemoryBound:
        asked.append(later)
        return MemoryBound(1 << 30, "here")

    monkeypatch.setattr(workspaces, "memory_bound", bound)
    if loaded:
        monkeypatch.setitem(sys.modules, "SimpleITK", sys)
    else:
        monkeypatch.delitem(sys.modules, "SimpleITK", raising=False)
    assert Workspaces(None, 1, None, None).bound == MemoryBound(1 << 30, "here")
    assert asked == [None if loaded else SIMPLEITK]
    assert ("SimpleITK" in sys.modules) == loaded


def test_without_any_memory_simpleitk_tells_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspaces, "memory_bound", lambda later=None: MemoryBound(0, "here"))
    monkeypatch.setitem(sys.modules, "SimpleITK", None)  # cannot be imported
    with pytest.raises(ImportError):
        _ = Workspaces(None, 1, None, None).bound
