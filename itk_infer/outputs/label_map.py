"""The label map: one value per voxel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from itk_infer.outputs.planes import Planes
from itk_infer.outputs.sink import FinishedCase, OutputHeader
from itk_infer.outputs.slicer_keys import is_segmentation, segment_keys
from itk_infer.volume.label_masks import LabelMasks
from itk_infer.volume.marks import own_keys
from itk_infer.volume.names import is_picture
from itk_infer.volume.slab import DecidedSlab, LabelArray
from itk_infer.volume.volume import image_of
from itk_infer.volume.write import write_volume
from itk_infer.volume.write_picture import write_label_picture

if TYPE_CHECKING:
    import SimpleITK as sitk


class LabelMapSink:
    """Holds the whole label map, which is small, and writes it at the end.

    Args:
        path: File to write; its suffix is the format, and ``.seg.nrrd`` also gets names and colours. None: no
            file, the result is read from `image`.
        header: Header of the case.

    Attributes:
        voxels: Voxels of each label, in the order of the table, after `replace` or `paint`; None: as decided.
        soft_dice: Soft Dice by label value, for outputs that show it; empty until it is known.
        confidence: Mean confidence by label value, likewise.
        doubts: See `FinishedCase`.
        wants_uncertainty: Whether an output of the case takes `uncertainty`.
        uncertainty: See `FinishedCase`; None until it is known, or if it was not wanted.
        masks: See `FinishedCase`.
    """

    needs_logits = False

    def __init__(self, path: Path | None, header: OutputHeader) -> None:
        self._path = path
        self._header = header
        self._planes = Planes(header)
        self.voxels: tuple[int, ...] | None = None
        self.soft_dice: dict[int, float | None] = {}
        self.confidence: dict[int, float | None] = {}
        self.doubts: tuple[str, ...] = ()
        self.wants_uncertainty = False
        self.uncertainty: NDArray[np.uint8] | None = None
        self.masks: LabelMasks | None = None
        self._highest = max((label.value for label in header.labels), default=0)
        self._array = np.zeros(header.grid.size, np.min_scalar_type(self._highest))
        # A view with the slabs' axes: writing to it reorients.
        self._in_slab_axes = header.reorientation.inverse.apply(self._array)

    def write(self, slab: DecidedSlab) -> None:
        """Take one slab."""
        planes = self._planes.take(slab.z0, slab.labels.shape)
        highest = int(slab.labels.max(initial=0))
        if highest > self._highest:
            raise RuntimeError(f"a voxel has the label {highest}, beyond the table's {self._highest}")
        self._in_slab_axes[planes] = slab.labels

    @property
    def finished(self) -> FinishedCase:
        """The label map as an array, complete after the last slab."""
        self._planes.finish()
        return FinishedCase(
            self._header,
            self._array,
            self.soft_dice,
            self.confidence,
            self.doubts,
            self.uncertainty,
            self.masks,
        )

    def replace(self, labels: LabelArray) -> None:
        """Replace the decided labels; voxels are counted again for the case's results.

        Args:
            labels: Values of the table, of the shape of ``finished.labels``.
        """
        self._planes.finish()
        self._array[...] = labels
        counts = np.bincount(self._array.ravel(), minlength=self._highest + 1)
        self.voxels = tuple(int(counts[label.value]) for label in self._header.labels)

    def paint(self, masks: LabelMasks) -> None:
        """Write other masks than were decided, later labels over earlier ones; voxels are counted in full."""
        self._planes.finish()
        masks.painted([label.value for label in self._header.labels], self._array)
        self.voxels = tuple(masks.voxels(number) for number in range(len(masks)))

    @property
    def image(self) -> sitk.Image:
        """The label map as an image, complete after the last slab."""
        return image_of(self.finished.labels, self._header.grid)

    def commit(self) -> Path | None:
        """Write, read back, and move to the final name; without a path, nothing is written."""
        labels = self.finished.labels
        if self._path is None:
            return None
        keys = own_keys(self._header.about)
        if is_picture(self._path.name):
            write_label_picture(labels, self._path, keys, track=self._header.track)
            return self._path
        if is_segmentation(self._path):
            keys = segment_keys(self._header, [0] * len(self._header.labels))
        write_volume(labels, self._header.grid, self._path, keys, track=self._header.track)
        return self._path

    def abort(self) -> None:
        """Do nothing: before the commit there is no file, and a commit that fails leaves none."""
