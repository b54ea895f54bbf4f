"""Files on disk round a run: which result belongs to a case, and what a killed run leaves behind."""

from __future__ import annotations

import os
import re
import shutil

_PARTIAL = re.compile(r"\.partial-[0-9a-f]{12}\.")
_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")


def result_path(output: str, case: str) -> str:
    """Where the segmentation of a case lies, or will lie."""
    for ending in _ENDINGS:
        if case.lower().endswith(ending):
            case = case[: -len(ending)]
            break
    return os.path.join(output, case + ".seg.nrrd")


def sweep(output: str, recursive: bool) -> int:
    """Delete unfinished files of a run of ours that had to be killed.

    Returns:
        How many.
    """
    found = []
    for folder, names, files in os.walk(output):
        found += [os.path.join(folder, name) for name in names + files if _PARTIAL.match(name)]
        names[:] = [
            name for name in names if recursive and not name.endswith(".zarr") and not _PARTIAL.match(name)
        ]
    for path in found:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            try:
                os.unlink(path)
            except OSError:
                continue
    return len(found)
