"""Suppression of warnings that SimpleITK prints on stderr."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = Lock()
_inside = 0  # number of open blocks, in all threads
_before = True  # the setting before the first of them


@contextmanager
def no_simpleitk_warnings() -> Iterator[None]:
    """Switch SimpleITK's warnings off within the block.

    The setting is global to the process; it is restored when the last of several overlapping blocks ends.
    """
    import SimpleITK as sitk

    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = sitk.ProcessObject.GetGlobalWarningDisplay()
            sitk.ProcessObject.SetGlobalWarningDisplay(False)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                sitk.ProcessObject.SetGlobalWarningDisplay(_before)
