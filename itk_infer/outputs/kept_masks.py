"""Holds the masks of a case's labels until the last slab; outputs that write masks are built on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itk_infer.outputs.planes import Planes
from itk_infer.outputs.sink import OutputHeader
from itk_infer.volume.label_masks import LabelMasks
from itk_infer.volume.slab import DecidedSlab


class KeptMasks:
    """Keeps one bit per voxel and label, and writes no file.

    Args:
        path: File to write, for outputs that are built on it.
        header: Header of the case.

    Attributes:
        header: Header of the case.
        masks: One per label of the table, on ``header.grid``; complete after the last slab.
    """

    needs_logits = False

    def __init__(self, path: Path | None, header: OutputHeader) -> None:
        self._path = path
        self._planes = Planes(header)
        self.header = header
        self.masks = LabelMasks(len(header.labels), header.slab_size, header.reorientation)

    def write(self, slab: DecidedSlab) -> None:
        """Take one slab; its masks if it has them, or else those of its labels."""
        masks = slab.masks
        if masks is None and not self.header.overlaps:
            masks = np.stack([slab.labels == label.value for label in self.header.labels])
        if masks is None or len(masks) != len(self.masks):
            raise RuntimeError(f"a slab came without the masks of the {len(self.masks)} labels of the table")
        self.masks.put(self._planes.take(slab.z0, masks.shape[1:]), masks)

    def finish(self) -> None:
        """Check that every plane came."""
        self._planes.finish()

    def commit(self) -> Path | None:
        """Nothing is written."""
        self.finish()
        return None

    def abort(self) -> None:
        """Do nothing: before the commit there is no file, and a commit that fails leaves none."""
