"""A 4D NIfTI file with one mask per label, as MONAI writes channels that overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itk_infer.outputs.planes import Planes
from itk_infer.outputs.sink import OutputHeader
from itk_infer.volume.slab import DecidedSlab
from itk_infer.volume.volume import image_of
from itk_infer.volume.write import write_image


class ChannelMasksSink:
    """Holds one bit per voxel and label, and writes a volume of 0 and 1 per label, in the order of the table.

    Args:
        path: File to write, ``.nii.gz``.
        header: Header of the case.
    """

    needs_logits = False

    def __init__(self, path: Path, header: OutputHeader) -> None:
        self._path = path
        self._header = header
        self._planes = Planes(header)
        z, y, x = header.slab_size
        self._bits = np.zeros((len(header.labels), z, y, -(-x // 8)), np.uint8)

    def write(self, slab: DecidedSlab) -> None:
        """Take the masks of a slab or, if it has none, its labels."""
        planes = self._planes.take(slab.z0, slab.labels.shape)
        masks = slab.masks
        if masks is None:
            masks = np.stack([slab.labels == label.value for label in self._header.labels])
        self._bits[:, planes] = np.packbits(masks, axis=-1)

    def commit(self) -> Path:
        """Write, read back, and move to the final name."""
        import SimpleITK as sitk

        self._planes.finish()
        volumes = []
        for bits in self._bits:
            array = np.zeros(self._header.grid.size, np.uint8)
            in_slab_axes = self._header.reorientation.inverse.apply(array)
            in_slab_axes[...] = np.unpackbits(bits, axis=-1, count=self._header.slab_size[2])
            volumes.append(image_of(array, self._header.grid))
        write_image(sitk.JoinSeries(volumes), self._path, track=self._header.track)
        return self._path

    def abort(self) -> None:
        """Do nothing: before the commit there is no file, and a commit that fails leaves none."""
