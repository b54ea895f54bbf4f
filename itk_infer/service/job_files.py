"""The finished files of a job for download: an output that is a folder becomes one zip file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

from itk_infer.files.commit import new_file, remove
from itk_infer.files.intent import remove_intent
from itk_infer.files.records import OutputFile
from itk_infer.files.stamp import sha256_of
from itk_infer.outputs.registry import LABELS
from itk_infer.service.job import JobFile

MASK = "mask"  # name of the output `LABELS` for clients


def kept_files(folder: Path, outputs: Sequence[OutputFile]) -> dict[str, JobFile]:
    """The files of a job, by their names for clients.

    Args:
        folder: Folder of the job.
        outputs: Outputs that its case has written there.
    """
    files = {}
    for output in outputs:
        path = folder / output.path
        remove_intent(path)
        name, digest = MASK if output.kind == LABELS else output.kind, output.sha256
        if path.is_dir():
            path = _zipped(path)
            digest = sha256_of(path)
        files[name] = JobFile(path.name, path.stat().st_size, digest)
    return files


def _zipped(folder: Path) -> Path:
    """Pack a folder into an uncompressed zip file, the form of zarr's zip stores, and delete the folder."""
    final = folder.with_name(f"{folder.name}.zip")
    with new_file(final) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for root, _, names in os.walk(folder):
            for name in sorted(names):
                path = Path(root, name)
                archive.write(path, path.relative_to(folder).as_posix())
    remove(folder)
    return final
