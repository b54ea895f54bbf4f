"""The map of uncertainty: one byte per voxel, on the grid of the label map."""

from __future__ import annotations

from pathlib import Path

from itk_infer.errors import OutputError
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.volume.marks import INTENT_ESTIMATE
from itk_infer.volume.write import write_volume


class UncertaintyOutput:
    """Writes the map of a case after it is finished; see `CaseOutput`.

    Values are 250 (1 - confidence) of the voxel, for threshold models with the lowest confidence over the labels:
    0 is certain, 250 means that all classes are equally likely.

    Args:
        path: ``<case>.uncertainty.nii.gz``.
        header: Header of the case.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`.

        Raises:
            OutputError: the file cannot be written, or the model has no such map.
        """
        if case.uncertainty is None:
            raise OutputError(
                "this model merges label maps and has no map of uncertainty: leave `save_uncertainty` out"
            )
        header = case.header
        write_volume(case.uncertainty, header.grid, self._path, {}, track=header.track, intent=INTENT_ESTIMATE)
        return self._path

    def abort(self) -> None:
        """Nothing to undo: before the commit there is no file, and a commit that fails leaves none."""
