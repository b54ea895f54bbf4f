"""The label map of a cascade's first stage, on the grid of the mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itk_infer.errors import ConfigError
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.volume.marks import own_keys
from itk_infer.volume.write import write_volume


class PreviousStageOutput:
    """Writes the label map that was input of the second stage.

    Args:
        path: File to write.
        header: Header of the case.
    """

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path
        self._previous = header.previous

    def commit(self, case: FinishedCase) -> Path:
        """See `CaseOutput.commit`.

        Raises:
            ConfigError: the model has no earlier stage.
        """
        header, previous = case.header, self._previous
        if previous is None:
            raise ConfigError("`keep_previous`: this model has no earlier stage; leave it out")
        array = np.zeros(header.grid.size, np.min_scalar_type(int(previous.max(initial=0))))
        header.reorientation.inverse.apply(array)[...] = previous
        write_volume(array, header.grid, self._path, own_keys(header.about), track=header.track)
        return self._path

    def abort(self) -> None:
        """Do nothing: before the commit there is no file, and a commit that fails leaves none."""
