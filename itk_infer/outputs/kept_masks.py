"""Stores the masks of a case's labels until the last slab; the base of outputs that write masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itk_infer.outputs.planes import Planes
from itk_infer.outputs.sink import OutputHeader
from itk_infer.volume.label_masks import LabelMasks
from itk_infer.volume.slab import DecidedSlab


class KeptMasks:
    """Stores one bit per voxel and label; writes no file.

    Args:
        path: File that derived outputs write.
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
        """Store the masks of one slab, or if it has none, those of its label map."""
        masks = slab.masks
        if masks is None and not self.header.overlaps:
            masks = np.stack([slab.labels == label.value for label in self.header.labels])
        if masks is None or len(masks) != len(self.masks):
            raise RuntimeError(f"a slab came without the masks of the {len(self.masks)} labels of the table")
        self.masks.put(self._planes.take(slab.z0, masks.shape[1:]), masks)

    def finish(self) -> None:
        """Check that all planes were written."""
        self._planes.finish()

    def commit(self) -> Path | None:
        """Does nothing, as no file is written."""
        self.finish()
        return None

    def abort(self) -> None:
        """Does nothing: there is no file before the commit, and a failed commit leaves none."""
