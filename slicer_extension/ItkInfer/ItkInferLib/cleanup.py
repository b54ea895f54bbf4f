"""The result file of a case, and the removal of partial files that a killed run leaves behind."""

from __future__ import annotations

import os
import re
import shutil

_PARTIAL = re.compile(r"\.partial-[0-9a-f]{12}\.")
_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")


def result_path(output: str, case: str) -> str:
    """Path of the segmentation of a case, whether it exists yet or not."""
    for ending in _ENDINGS:
        if case.lower().endswith(ending):
            case = case[: -len(ending)]
            break
    return os.path.join(output, case + ".seg.nrrd")


def sweep(output: str, recursive: bool) -> int:
    """Delete the partial files of a run of this panel that had to be killed.

    Returns:
        Number of partial files found.
    """
    partials = []
    for folder, names, files in os.walk(output):
        partials += [os.path.join(folder, name) for name in names + files if _PARTIAL.match(name)]
        names[:] = [
            name for name in names if recursive and not name.endswith(".zarr") and not _PARTIAL.match(name)
        ]
    for path in partials:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            try:
                os.unlink(path)
            except OSError:
                continue
    return len(partials)
